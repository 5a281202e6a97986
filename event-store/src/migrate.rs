//! The schema, embedded in the program.

use sqlx::PgPool;
use sqlx::migrate::Migrator;

use crate::error::StoreError;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

const UNDEFINED_TABLE: &str = "42P01";

/// Brings the database to this program's schema; several processes may do it at once.
pub async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    Ok(MIGRATIONS.run(pool).await?)
}

/// Whether the database has this program's schema, or a newer one.
pub async fn is_migrated(pool: &PgPool) -> Result<bool, StoreError> {
    let wanted: Vec<i64> = MIGRATIONS.iter().map(|migration| migration.version).collect();
    let applied: Result<i64, sqlx::Error> =
        sqlx::query_scalar("select count(*) from _sqlx_migrations where success and version = any($1)")
            .bind(&wanted)
            .fetch_one(pool)
            .await;
    match applied {
        Ok(applied) => Ok(usize::try_from(applied) == Ok(wanted.len())),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(UNDEFINED_TABLE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
