//! Whether all brokers answer that messages may wait on. What waits on one that is away is in no backlog, so without it nobody
//! knows how far a group is.

use std::time::Duration;

use messaging::{Broker, BrokerStatus};
use sqlx::PgPool;
use tokio::time::Instant;

/// How long a client that has just begun may take to reach those that it was told of.
pub const SETTLING: Duration = Duration::from_secs(1);
const SETTLING_POLL: Duration = Duration::from_millis(50);
/// One that nobody heard of for so long is taken to be gone for good by processes that begin then. One that runs already waits
/// for whatever its client has known.
const REMEMBERED_FOR: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Whether each answers that this process or another ever heard of, at the latest after so long.
pub async fn all_answer(pool: &PgPool, broker: &dyn Broker, within: Duration) -> bool {
    // With none that answers, each further question would wait in vain.
    if !broker.is_reachable().await {
        return false;
    }
    let Ok(known) = known(pool).await else { return false };
    let deadline = Instant::now() + within;
    loop {
        if are_all_up(&known, &broker.statuses().await) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(SETTLING_POLL).await;
    }
}

fn are_all_up(known: &[String], statuses: &[BrokerStatus]) -> bool {
    statuses.iter().all(|status| status.is_up)
        && known.iter().all(|name| statuses.iter().any(|status| status.name == *name))
}

async fn known(pool: &PgPool) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("select name from relay.broker").fetch_all(pool).await
}

/// Remembers those that answer now, for processes that have yet to begin.
pub(crate) async fn note(pool: &PgPool, statuses: &[BrokerStatus]) -> sqlx::Result<()> {
    let answering = statuses.iter().filter(|status| status.is_up).map(|status| status.name.as_str());
    sqlx::query(include_str!("sql/note_brokers.sql"))
        .bind(answering.collect::<Vec<_>>())
        .bind(REMEMBERED_FOR.as_secs_f64())
        .execute(pool)
        .await?;
    Ok(())
}
