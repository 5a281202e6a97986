//! Notifications of appends, so that nobody waits for the next poll.

use std::sync::Arc;
use std::time::Duration;

use event_store::HEAD_CHANNEL;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

/// Polling is the guarantee, so a lost connection is no hurry.
const RECONNECT_WAIT: Duration = Duration::from_secs(1);

/// Wakes at every announced append until it is dropped.
pub(crate) fn on_append(pool: PgPool, wake: Arc<Notify>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            if let Err(error) = listen(&pool, &wake).await {
                tracing::debug!(%error, "cannot listen for appends; polling goes on");
            }
            tokio::time::sleep(RECONNECT_WAIT).await;
        }
    }))
}

async fn listen(pool: &PgPool, wake: &Notify) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(HEAD_CHANNEL).await?;
    loop {
        listener.recv().await?;
        wake.notify_one();
    }
}
