//! An order's updates as server-sent events: what has happened, then what happens, until the order is over.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::{Decider, Order, OrderId, OrderStatus};
use event_store::Ledger;
use event_store::read::{self, RecordedEvent};
use futures_util::stream;
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::event_stream;
use crate::extract::PathId;
use crate::fields::order_not_found;
use crate::openapi::{CallerProblems, NotFoundProblem, ParameterProblems};
use crate::problem::Problem;
use crate::state::ApiState;
use crate::waiters::Subscription;

const LAST_EVENT_ID: &str = "last-event-id";
const EVENTS_PER_READ: i64 = 100;

/// The `data` of one update.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OrderUpdate)]
pub(crate) struct UpdateBody {
    #[schema(value_type = String, example = "ORD202412010001")]
    order_id: OrderId,
    /// The order's status after this event.
    #[schema(value_type = String, example = "AWAITING_PAYMENT")]
    status: OrderStatus,
    /// Why, where this event gives a reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(rename = "type")]
    #[schema(example = "OrderStockHeld")]
    event_type: String,
    /// The version of its stream; also the `id`.
    version: i64,
    position: i64,
    time: DateTime<Utc>,
}

/// Server-sent events: `id` is the stream's version, `event` the order's status then. Comments keep the connection alive.
/// It ends when the order or the token is over; a client that is disconnected sends `Last-Event-ID` and misses nothing.
#[utoipa::path(
    get,
    path = "/v1/orders/{orderId}/updates",
    tag = "orders",
    params(
        ("orderId" = String, Path),
        ("Last-Event-ID" = Option<i64>, Header, description = "Go on after this version")
    ),
    responses(
        (status = 200, description = "The updates", body = UpdateBody, content_type = "text/event-stream"),
        (status = 204, description = "The order is over and nothing came after `Last-Event-ID`: do not ask again"),
        CallerProblems,
        NotFoundProblem,
        ParameterProblems
    )
)]
pub(crate) async fn updates(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(id): PathId<OrderId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = last_event_id(&headers)?;
    let stream_id = Order::stream_id(id.as_str());
    // Before anything is read, so that nothing can happen unseen between reading and waiting.
    let subscription = api.news.subscribe(stream_id.clone())?;
    // From the ledger and at once: the read model may be behind what this client was told, and between two reads the last
    // event could happen and never be told.
    let loaded = api.ledger.load::<Order>(id.as_str()).await?;
    let version = loaded.version as i64;
    let order = loaded.state.placed.filter(|order| caller.may_see(order.user_id)).ok_or_else(order_not_found)?;
    if after > version {
        return Err(Problem::invalid_value("Last-Event-ID", "a version of the order's stream"));
    }
    if after == version && order.is_settled() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let updates = Updates {
        ledger: api.ledger.clone(),
        pool: api.queries.clone(),
        order_id: id,
        stream_id,
        version: after,
        subscription,
        pending: VecDeque::new(),
        is_over: false,
    };
    Ok(event_stream::answer(&api, &caller, stream::unfold(updates, |updates| updates.next())))
}

/// 0 without the header: from the beginning.
fn last_event_id(headers: &HeaderMap) -> Result<i64, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(0) };
    let version = value.to_str().ok().and_then(|text| text.trim().parse().ok()).filter(|version| *version >= 0);
    version.ok_or_else(|| Problem::invalid_value("Last-Event-ID", "a version of the order's stream"))
}

/// Whether nothing comes after this version. An order that has ended with a payment under way may still get its tickets, or
/// its money back.
async fn is_settled_at(ledger: &Ledger, id: &OrderId, version: i64) -> Result<bool, Problem> {
    let order = ledger.load::<Order>(id.as_str()).await?;
    Ok(order.version as i64 == version && order.state.placed.is_some_and(|placed| placed.is_settled()))
}

struct Updates {
    ledger: Ledger,
    pool: PgPool,
    order_id: OrderId,
    stream_id: String,
    /// The last version that was read.
    version: i64,
    subscription: Subscription,
    pending: VecDeque<Event>,
    is_over: bool,
}

impl Updates {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some((Ok(event), self));
            }
            if self.is_over {
                return None;
            }
            self.subscription.mark_seen();
            // The client comes back with the id of the last event it has.
            let read = self.read().await.inspect_err(|problem| {
                tracing::debug!(order_id = %self.order_id, code = problem.code(), "updates end early");
            });
            let has_news = read.ok()?;
            if !has_news && !self.subscription.changed().await {
                return None;
            }
        }
    }

    /// Takes in what came after the last version; whether there was anything.
    async fn read(&mut self) -> Result<bool, Problem> {
        let events = read::stream(&self.pool, &self.stream_id, self.version, EVENTS_PER_READ).await?;
        let is_all = (events.len() as i64) < EVENTS_PER_READ;
        let mut may_be_over = false;
        for event in &events {
            let update = UpdateBody::read(&self.order_id, event)?;
            may_be_over = is_all && update.status.is_terminal();
            self.version = update.version;
            self.pending.push_back(update.into_event()?);
        }
        // What has happened since is read next: it woke the subscription.
        self.is_over = may_be_over && is_settled_at(&self.ledger, &self.order_id, self.version).await?;
        Ok(!events.is_empty())
    }
}

impl UpdateBody {
    fn read(order_id: &OrderId, recorded: &RecordedEvent) -> Result<Self, Problem> {
        let event = recorded.decode::<Order>()?;
        let mut reason = None;
        event.explain(&mut reason);
        Ok(Self {
            order_id: order_id.clone(),
            status: event.status(),
            reason,
            event_type: recorded.event_type.clone(),
            version: recorded.version,
            position: recorded.position,
            time: recorded.recorded_at,
        })
    }

    fn into_event(self) -> Result<Event, Problem> {
        let event = Event::default().id(self.version.to_string()).event(self.status.as_str());
        event.json_data(&self).map_err(Problem::internal)
    }
}
