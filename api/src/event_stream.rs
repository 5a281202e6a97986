//! Answers that go on for ever: as server-sent events, kept alive, and ended with the token they were asked for with.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};

use crate::auth::Caller;
use crate::state::ApiState;

/// Comments keep a silent connection alive. Whoever comes back with the same token then is answered 401.
pub(crate) fn answer<S>(api: &ApiState, caller: &Caller, updates: S) -> Response
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    let heartbeat = KeepAlive::new().interval(Duration::from_millis(api.config.update_heartbeat_ms));
    let token_ends = tokio::time::sleep(caller.remaining());
    Sse::new(updates.take_until(token_ends)).keep_alive(heartbeat).into_response()
}
