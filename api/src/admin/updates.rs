//! What a console shows, every second, as server-sent events. However many look, a process measures once a second, and not
//! at all while nobody does.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::stream;
use messaging::dead_letter;
use projections::{MAX_PAGE_ROWS, SagaFilter};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::lag::{self, LagBody};
use super::require_staff;
use crate::auth::Caller;
use crate::openapi::CallerProblems;
use crate::problem::Problem;
use crate::state::ApiState;

const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// Measuring must not become part of what is measured: it takes no more than this part of the time.
const MEASURING_SHARE: u32 = 4;

/// The `data` of one update.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Measurement)]
pub(crate) struct MeasurementBody {
    at: DateTime<Utc>,
    lag: LagBody,
    /// Messages that could not be applied.
    dead_letters: i64,
    /// Messages that wait behind those.
    waiting_behind: i64,
    /// Orders that hang; no more than 500 are counted.
    stuck_sagas: usize,
    /// Whether new orders go around the broker because it, or the way to it, is bad.
    is_falling_back: bool,
}

/// Server-sent events for a console: one measurement a second, shared by all who look. Comments keep a silent
/// connection alive.
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
    let heartbeat = KeepAlive::new().interval(Duration::from_millis(api.config.update_heartbeat_ms));
    Ok(Sse::new(stream::unfold(watched, next)).keep_alive(heartbeat).into_response())
}

/// Who watches, and the newest measurement.
pub(crate) struct Pulse {
    newest: watch::Sender<Option<Arc<str>>>,
    slots: Arc<Semaphore>,
    shutdown: CancellationToken,
    is_measuring: Mutex<bool>,
}

struct Watched {
    newest: watch::Receiver<Option<Arc<str>>>,
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

async fn measure_while_watched(api: ApiState) {
    while api.pulse.goes_on() {
        let since = Instant::now();
        match measure(&api).await {
            Ok(measured) => drop(api.pulse.newest.send_replace(Some(measured))),
            Err(problem) => tracing::debug!(code = problem.code(), "the console waits for its measurements"),
        }
        let pause = MEASURE_EVERY.saturating_sub(since.elapsed()).max(since.elapsed() * (MEASURING_SHARE - 1));
        tokio::select! {
            () = api.pulse.shutdown.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn measure(api: &ApiState) -> Result<Arc<str>, Problem> {
    let stuck = SagaFilter::Stuck { after: Duration::from_secs(api.config.saga_stuck_after_seconds) };
    let (lag, letters, stuck) = tokio::join!(
        lag::measure(api),
        dead_letter::count_undelivered(&api.queries),
        projections::sagas::list(&api.queries, stuck, None, MAX_PAGE_ROWS),
    );
    let letters = letters?;
    let measured = MeasurementBody {
        at: api.ledger.now(),
        lag: lag?,
        dead_letters: letters.dead,
        waiting_behind: letters.behind,
        stuck_sagas: stuck?.items.len(),
        is_falling_back: api.rollout.in_force().is_falling_back(),
    };
    Ok(serde_json::to_string(&measured).map_err(Problem::internal)?.into())
}

async fn next(mut watched: Watched) -> Option<(Result<Event, Infallible>, Watched)> {
    loop {
        tokio::select! {
            () = watched.shutdown.cancelled() => return None,
            changed = watched.newest.changed() => if changed.is_err() { return None },
        }
        let measured = watched.newest.borrow_and_update().clone();
        if let Some(measured) = measured {
            return Some((Ok(Event::default().event("measurement").data(&*measured)), watched));
        }
    }
}
