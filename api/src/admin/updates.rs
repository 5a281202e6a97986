//! What a console shows, every second, as server-sent events. However many look, a process measures once a second, and not
//! at all while nobody does.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::watch::{LagReport, history};
use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use chrono::{DateTime, Utc};
use futures_util::stream;
use messaging::dead_letter;
use projections::{MAX_PAGE_ROWS, SagaFilter};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::lag::LagBody;
use super::require_staff;
use crate::auth::Caller;
use crate::event_stream;
use crate::openapi::CallerProblems;
use crate::problem::Problem;
use crate::refusals::{database_away, unavailable};
use crate::state::ApiState;

const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// Measuring must not become part of what is measured: it takes no more than this part of the time.
const MEASURING_SHARE: u32 = 4;
/// But it is tried again by then, however long it took.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// What is shared with others may be as old as the time between two: its successor is asked for soon.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// What Postgres has not told by then is not known.
const MEASURING_TIMEOUT: Duration = Duration::from_secs(10);

/// The `data` of one update.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Measurement)]
pub(crate) struct MeasurementBody {
    /// When the lag was measured.
    at: DateTime<Utc>,
    lag: LagBody,
    /// Of the history's newest sample; null where that is not of late.
    orders_per_second: Option<f64>,
    /// Messages that could not be applied.
    dead_letters: i64,
    /// Messages that wait behind those.
    waiting_behind: i64,
    /// Orders that hang; no more than 500 are counted.
    stuck_sagas: usize,
    /// Whether there are more of them.
    has_more_stuck_sagas: bool,
    /// Whether new orders go around the broker because it, or the way to it, is bad.
    is_falling_back: bool,
}

/// The `data` where nothing can be measured.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Unavailable)]
pub(crate) struct UnavailableBody {
    /// When it was last measured; null where it never was.
    last_at: Option<DateTime<Utc>>,
    /// As a refusal's.
    #[schema(example = "unavailable")]
    code: &'static str,
}

/// Server-sent events for a console: `measurement` once a second, shared by all who look, or `unavailable` as long as nothing
/// can be measured. Comments keep a silent connection alive. It ends with the token.
#[utoipa::path(
    get,
    path = "/v1/admin/updates",
    tag = "admin",
    responses(
        (status = 200, description = "The measurements", body = MeasurementBody, content_type = "text/event-stream"),
        CallerProblems
    )
)]
pub(crate) async fn updates(caller: Caller, State(api): State<ApiState>) -> Result<Response, Problem> {
    require_staff(&caller)?;
    let watched = api.pulse.watch(&api)?;
    Ok(event_stream::answer(&api, &caller, stream::unfold(watched, next)))
}

/// What all who look are told.
#[derive(Clone)]
struct Update {
    event: &'static str,
    data: Arc<str>,
}

/// Who watches, and what they were last told.
pub(crate) struct Pulse {
    newest: watch::Sender<Option<Update>>,
    slots: Arc<Semaphore>,
    shutdown: CancellationToken,
    is_measuring: Mutex<bool>,
}

struct Watched {
    newest: watch::Receiver<Option<Update>>,
    shutdown: CancellationToken,
    _slot: OwnedSemaphorePermit,
}

impl Pulse {
    /// For at most `max_streams` at a time.
    pub fn new(max_streams: usize, shutdown: CancellationToken) -> Self {
        Self {
            newest: watch::Sender::new(None),
            slots: Arc::new(Semaphore::new(max_streams.min(Semaphore::MAX_PERMITS))),
            shutdown,
            is_measuring: Mutex::new(false),
        }
    }

    fn watch(&self, api: &ApiState) -> Result<Watched, Problem> {
        let too_many = |_| Problem::unavailable("too_many_streams", "too many streams of updates are open");
        let slot = self.slots.clone().try_acquire_owned().map_err(too_many)?;
        let mut is_measuring = self.is_measuring.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest = self.newest.subscribe();
        if *is_measuring {
            // The last one at once, instead of an empty page for a second.
            newest.mark_changed();
        } else {
            *is_measuring = true;
            tokio::spawn(measure_while_watched(api.clone()));
        }
        Ok(Watched { newest, shutdown: self.shutdown.clone(), _slot: slot })
    }

    /// Whether it goes on; decided under the lock, so that whoever begins to watch meanwhile starts it again.
    fn goes_on(&self) -> bool {
        let mut is_measuring = self.is_measuring.lock().unwrap_or_else(PoisonError::into_inner);
        *is_measuring = self.newest.receiver_count() > 0 && !self.shutdown.is_cancelled();
        *is_measuring
    }
}

impl Update {
    fn new(event: &'static str, data: &impl Serialize) -> Self {
        // Structs of plain fields can always be written.
        Self { event, data: serde_json::to_string(data).unwrap_or_default().into() }
    }
}

async fn measure_while_watched(api: ApiState) {
    let mut last_at = None;
    while api.pulse.goes_on() {
        let since = Instant::now();
        let update = match measure(&api, last_at).await {
            Ok(Some(measured)) => {
                last_at = Some(measured.at);
                Some(Update::new("measurement", &measured))
            }
            Ok(None) => None,
            Err(problem) => {
                tracing::debug!(code = problem.code(), "the console waits for its measurements");
                Some(Update::new("unavailable", &UnavailableBody { last_at, code: problem.code() }))
            }
        };
        let pause = match update {
            Some(update) => {
                api.pulse.newest.send_replace(Some(update));
                pause_after(since.elapsed())
            }
            None => ASK_AGAIN_AFTER,
        };
        tokio::select! {
            () = api.pulse.shutdown.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn pause_after(measuring: Duration) -> Duration {
    MEASURE_EVERY.saturating_sub(measuring).max((measuring * (MEASURING_SHARE - 1)).min(MAX_PAUSE))
}

/// None where it was not measured again since.
async fn measure(api: &ApiState, last_at: Option<DateTime<Utc>>) -> Result<Option<MeasurementBody>, Problem> {
    let report = api.lag.current().await.map_err(unavailable)?;
    if last_at == Some(report.measured_at) {
        return Ok(None);
    }
    tokio::time::timeout(MEASURING_TIMEOUT, measure_beside(api, &report)).await.map_err(unavailable)?.map(Some)
}

/// What a console shows beside the lag.
async fn measure_beside(api: &ApiState, report: &LagReport) -> Result<MeasurementBody, Problem> {
    let stuck = SagaFilter::Stuck { after: Duration::from_secs(api.config.saga_stuck_after_seconds) };
    let (letters, stuck, orders) = tokio::join!(
        dead_letter::count_undelivered(&api.queries),
        projections::sagas::list(&api.queries, stuck, None, MAX_PAGE_ROWS),
        history::orders_per_second(&api.queries, api.config.history_interval),
    );
    let (letters, stuck) = (letters?, stuck?);
    Ok(MeasurementBody {
        at: report.measured_at,
        lag: LagBody::from(report),
        orders_per_second: orders.map_err(database_away)?,
        dead_letters: letters.dead,
        waiting_behind: letters.behind,
        stuck_sagas: stuck.items.len(),
        has_more_stuck_sagas: stuck.next.is_some(),
        is_falling_back: api.rollout.in_force().is_falling_back(),
    })
}

async fn next(mut watched: Watched) -> Option<(Result<Event, Infallible>, Watched)> {
    loop {
        tokio::select! {
            () = watched.shutdown.cancelled() => return None,
            changed = watched.newest.changed() => if changed.is_err() { return None },
        }
        let update = watched.newest.borrow_and_update().clone();
        if let Some(Update { event, data }) = update {
            return Some((Ok(Event::default().event(event).data(&*data)), watched));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measuring_takes_a_small_share_of_the_time_and_is_never_put_off_for_long() {
        let pauses = [0, 100, 1_000, 15_000].map(|ms| pause_after(Duration::from_millis(ms)).as_millis());
        assert_eq!(pauses, [1_000, 900, 3_000, 5_000]);
    }
}
