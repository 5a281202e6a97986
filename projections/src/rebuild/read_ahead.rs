//! Reading the ledger while what was read before is folded and written.

use domain::Decider;
use event_store::read::RecordedEvent;
use sqlx::PgPool;
use tokio::sync::mpsc;

use crate::ledger;
use crate::read_model::ReadModel;

/// Ranges read and not yet taken. Each is memory.
const RANGES_AHEAD: usize = 1;

/// The events of a read model's streams between two positions.
pub(super) struct Range {
    pub to: i64,
    pub events: Vec<RecordedEvent>,
}

/// Reads `(after, upto]` by ranges, in order, each in a transaction of its own, so that no snapshot holds back vacuum. What is
/// committed up to a position never changes. Ends with the receiver.
pub(super) fn ranges<M: ReadModel>(
    pool: &PgPool,
    after: i64,
    upto: i64,
    max_range_events: i64,
) -> mpsc::Receiver<Result<Range, sqlx::Error>> {
    let (sender, receiver) = mpsc::channel(RANGES_AHEAD);
    let pool = pool.clone();
    tokio::spawn(async move {
        let mut position = after;
        while position < upto {
            let to = upto.min(position + max_range_events);
            let range = read::<M>(&pool, position, to).await;
            let failed = range.is_err();
            if sender.send(range).await.is_err() || failed {
                return;
            }
            position = to;
        }
    });
    receiver
}

async fn read<M: ReadModel>(pool: &PgPool, after: i64, to: i64) -> Result<Range, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let events = ledger::copy_category_range(&mut connection, M::Aggregate::CATEGORY, after, to).await?;
    Ok(Range { to, events })
}
