//! A hash of all rows of a read model that does not depend on their order: equal tables, equal hashes.

use std::fmt;

use sqlx::{PgConnection, PgPool};

use crate::ProjectionError;
use crate::read_model::{ReadModel, Table};

/// How many rows, and what they add up to.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct TableHash {
    pub rows: i64,
    first: String,
    second: String,
}

impl TableHash {
    /// Of the version that queries see.
    pub async fn of_shown<M: ReadModel>(pool: &PgPool) -> Result<Self, ProjectionError> {
        let mut transaction = pool.begin().await?;
        Self::of(&mut transaction, &Table::shown::<M>()).await
    }

    /// Of a table as this transaction sees it.
    pub(crate) async fn of(transaction: &mut PgConnection, table: &Table) -> Result<Self, ProjectionError> {
        // A row's text shows times in the time zone of the session.
        sqlx::query("set local time zone 'UTC'").execute(&mut *transaction).await?;
        // One processor, and not each of them: it may take longer.
        sqlx::query("set local max_parallel_workers_per_gather = 0").execute(&mut *transaction).await?;
        Ok(sqlx::query_as(table.sql(include_str!("../sql/hash.sql"))).fetch_one(transaction).await?)
    }
}

impl fmt::Display for TableHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows {}.{}", self.rows, self.first, self.second)
    }
}
