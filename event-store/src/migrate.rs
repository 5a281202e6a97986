//! The schema, embedded in the program.

use sqlx::PgPool;

use crate::error::StoreError;

/// Brings the database to this program's schema; several processes may do it at once.
pub async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    Ok(sqlx::migrate!("../migrations").run(pool).await?)
}
