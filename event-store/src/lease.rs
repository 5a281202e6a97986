//! A lease with a fencing token, on the database's clock: one holder at a time, and a zombie is known by its token.

use std::time::Duration;

use sqlx::PgPool;

use crate::error::StoreError;

/// A lease that was held when it was acquired or last renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What is leased.
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// Grows with every holder; write it down with each effect and refuse effects of a smaller one.
    pub token: i64,
}

/// Takes the lease if nobody holds it, or its time has run out.
pub async fn try_acquire(pool: &PgPool, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, StoreError> {
    let token: Option<i64> = sqlx::query_scalar(include_str!("lease/acquire.sql"))
        .bind(name)
        .bind(holder)
        .bind(ttl.as_secs_f64())
        .fetch_optional(pool)
        .await?;
    Ok(token.map(|token| Lease { name: name.to_owned(), holder: holder.to_owned(), token }))
}

impl Lease {
    /// Prolongs the lease; false means that it is lost, to another holder or to time.
    pub async fn renew(&self, pool: &PgPool, ttl: Duration) -> Result<bool, StoreError> {
        let renewed = sqlx::query(include_str!("lease/renew.sql"))
            .bind(&self.name)
            .bind(self.token)
            .bind(ttl.as_secs_f64())
            .execute(pool)
            .await?;
        Ok(renewed.rows_affected() == 1)
    }

    /// Gives the lease back, so that the next holder need not wait. Harmless when it is lost already.
    pub async fn release(&self, pool: &PgPool) -> Result<(), StoreError> {
        sqlx::query("update store.lease set expires_at = '-infinity' where name = $1 and token = $2")
            .bind(&self.name)
            .bind(self.token)
            .execute(pool)
            .await?;
        Ok(())
    }
}
