//! A user's notifications as server-sent events: what they were told while they were away, then what they are told.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event;
use domain::UserId;
use futures_util::stream;
use projections::{NotificationView, notifications};
use sqlx::PgPool;

use super::NotificationBody;
use crate::auth::Caller;
use crate::event_stream;
use crate::extract::PathId;
use crate::openapi::{CallerProblems, ParameterProblems};
use crate::problem::Problem;
use crate::state::ApiState;
use crate::waiters::Subscription;

const LAST_EVENT_ID: &str = "last-event-id";
const NOTIFICATIONS_PER_READ: i64 = 100;

/// Server-sent events: each notification once, as it stands when it is sent. `id` is its ledger position; with
/// `Last-Event-ID`, or the `Ledger-Position` of a list, nothing in between is missed. Without it the stream begins now.
#[utoipa::path(
    get,
    path = "/v1/users/{userId}/notifications/updates",
    tag = "users",
    params(
        ("userId" = i64, Path, minimum = 1),
        ("Last-Event-ID" = Option<i64>, Header, description = "Go on after this ledger position")
    ),
    responses(
        (status = 200, description = "The notifications", body = NotificationBody, content_type = "text/event-stream"),
        CallerProblems,
        ParameterProblems
    )
)]
pub(crate) async fn updates(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(user_id): PathId<UserId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if !caller.may_see(user_id) {
        return Err(Problem::forbidden("notifications are for their user"));
    }
    let after = last_event_id(&headers)?;
    // Before anything is read, so that nothing can be told unseen between reading and waiting.
    let subscription = api.notification_news.subscribe(user_id)?;
    let position = match after {
        Some(position) => position,
        None => notifications::position(&api.queries).await?,
    };
    let updates = Updates { pool: api.queries.clone(), user_id, position, subscription, pending: VecDeque::new() };
    Ok(event_stream::answer(&api, &caller, stream::unfold(updates, |updates| updates.next())))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let position = value.to_str().ok().and_then(|text| text.trim().parse().ok()).filter(|position| *position >= 0);
    position.map(Some).ok_or_else(|| Problem::invalid_value("Last-Event-ID", "a ledger position"))
}

struct Updates {
    pool: PgPool,
    user_id: UserId,
    /// The ledger position up to which everything was read.
    position: i64,
    subscription: Subscription,
    pending: VecDeque<Event>,
}

impl Updates {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some((Ok(event), self));
            }
            self.subscription.mark_seen();
            // The client comes back with the id of the last event it has.
            let read = self.read().await.inspect_err(|problem| {
                tracing::debug!(code = problem.code(), "a stream of notifications ends early");
            });
            let has_news = read.ok()?;
            if !has_news && !self.subscription.changed().await {
                return None;
            }
        }
    }

    /// Takes in what came after the position; whether there was anything.
    async fn read(&mut self) -> Result<bool, Problem> {
        let told = notifications::after(&self.pool, self.user_id, self.position, NOTIFICATIONS_PER_READ).await?;
        for notification in &told {
            self.position = notification.requested_position;
            self.pending.push_back(event(notification)?);
        }
        Ok(!told.is_empty())
    }
}

fn event(notification: &NotificationView) -> Result<Event, Problem> {
    let event = Event::default().id(notification.requested_position.to_string()).event(&notification.template);
    event.json_data(notification).map_err(Problem::internal)
}
