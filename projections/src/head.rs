//! The ledger's last position as this process knows it: told by `NOTIFY ledger_head`, made certain by a poll.

use std::time::Duration;

use event_store::read;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const CHANNEL: &str = "ledger_head";

/// Follows the head until `shutdown`. Notifications make it quick; the poll is what can be relied on, so that a
/// notification that gets lost costs one `poll_interval` and no more.
pub async fn follow(pool: PgPool, head: watch::Sender<i64>, poll_interval: Duration, shutdown: CancellationToken) {
    let mut listener = None;
    loop {
        if listener.is_none() {
            listener = listen(&pool).await;
        }
        if let Ok(position) = read::head(&pool).await {
            raise(&head, position);
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(poll_interval) => {}
            lost = notified(&mut listener, &head) => if lost { listener = None },
        }
    }
}

async fn listen(pool: &PgPool) -> Option<PgListener> {
    let mut listener = PgListener::connect_with(pool).await.ok()?;
    listener.listen(CHANNEL).await.ok()?;
    Some(listener)
}

/// Takes notifications until the connection is lost. Without a listener it never answers: the poll goes on.
async fn notified(listener: &mut Option<PgListener>, head: &watch::Sender<i64>) -> bool {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        match listener.try_recv().await {
            Ok(Some(notification)) => {
                if let Ok(position) = notification.payload().parse() {
                    raise(head, position);
                }
            }
            Ok(None) | Err(_) => return true,
        }
    }
}

fn raise(head: &watch::Sender<i64>, position: i64) {
    head.send_if_modified(|known| {
        let newer = position > *known;
        *known = position.max(*known);
        newer
    });
}
