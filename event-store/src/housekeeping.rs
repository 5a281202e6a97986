//! Taking away what is no longer needed, in bounded steps.

use std::time::Duration;

use sqlx::PgPool;

use crate::error::StoreError;

/// How long the keys of some scopes must be remembered.
#[derive(Debug, Clone)]
pub struct KeyRetention {
    /// Scopes that begin like this.
    pub scope_prefix: String,
    /// Younger keys stay.
    pub keep_for: Duration,
    /// Scope and key of those that stay however old they are.
    pub except: Vec<(String, String)>,
}

/// Rows one statement deletes: so few that it holds nobody up.
const KEYS_PER_DELETE: i64 = 5_000;

/// Forgets keys that are past their time; returns how many. A key that is forgotten can be used again, so keep a key
/// for longer than anything can be sent again under it.
pub async fn forget_old_keys(pool: &PgPool, retentions: &[KeyRetention]) -> Result<u64, StoreError> {
    let mut forgotten = 0;
    for retention in retentions {
        let (scopes, keys): (Vec<&str>, Vec<&str>) =
            retention.except.iter().map(|(scope, key)| (scope.as_str(), key.as_str())).unzip();
        loop {
            let deleted = sqlx::query(include_str!("housekeeping/forget_old_keys.sql"))
                .bind(&retention.scope_prefix)
                .bind(retention.keep_for.as_secs_f64())
                .bind(KEYS_PER_DELETE)
                .bind(&scopes)
                .bind(&keys)
                .execute(pool)
                .await?
                .rows_affected();
            forgotten += deleted;
            if deleted == 0 {
                break;
            }
        }
    }
    Ok(forgotten)
}
