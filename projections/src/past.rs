//! Rows as they were: which position of the ledger a moment is, and what a stream came to by then.

use chrono::{DateTime, TimeDelta, Utc};
use event_store::{read, select};
use sqlx::PgPool;

use crate::ProjectionError;
use crate::read_model::{self, ReadModel};

/// Events of one stream read at once.
const EVENTS_PER_READ: i64 = 1_000;

/// The clocks of those who ask run ahead a little: a time that has not been by that much means now.
const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::seconds(5);

/// A moment of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// After the event at this position.
    Position(i64),
    /// At this time, by the database's clock.
    Time(DateTime<Utc>),
}

impl Moment {
    /// The last position that had been recorded by then; 0 before the first, `None` where it has not been yet, by the ledger's
    /// head or by the database's clock.
    ///
    /// For a time it is found by bisection: an event recorded at or before that time whose next one was recorded after
    /// it, or the last of all. As long as the database's clock never went back that is the one such event; where it did, a
    /// time that came twice has several, and any of them may be the answer.
    pub async fn position(self, pool: &PgPool) -> Result<Option<i64>, ProjectionError> {
        match self {
            Self::Position(position) => Ok((position <= read::head(pool).await?).then_some(position)),
            Self::Time(time) => {
                let now: DateTime<Utc> = sqlx::query_scalar("select clock_timestamp()").fetch_one(pool).await?;
                if time.signed_duration_since(now) > MAX_CLOCK_SKEW {
                    return Ok(None);
                }
                Ok(Some(select::position_through(pool, time).await?))
            }
        }
    }
}

/// The row after the events of its stream up to a position; none where there was none yet.
pub(crate) async fn read<M: ReadModel>(
    pool: &PgPool,
    stream_id: &str,
    position: i64,
) -> Result<Option<M>, ProjectionError> {
    let mut row: Option<M> = None;
    loop {
        let version = row.as_ref().map_or(0, M::version);
        let events = read::stream(pool, stream_id, version, EVENTS_PER_READ).await?;
        for event in &events {
            if event.position > position {
                return Ok(row);
            }
            read_model::fold(&mut row, event)?;
        }
        if (events.len() as i64) < EVENTS_PER_READ {
            return Ok(row);
        }
    }
}
