use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::{Decider, Order, OrderId};
use event_store::read::{self, RecordedEvent};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{page_rows, visible_order};
use crate::answer::ListBody;
use crate::auth::Caller;
use crate::extract::{PathId, QueryParams, parse_param};
use crate::openapi::{CallerProblems, NotFoundProblem, ParameterProblems};
use crate::problem::Problem;
use crate::state::ApiState;

/// Which part of a stream.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListEvents {
    /// `next` of the page before: the version to go on after.
    after: Option<String>,
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<String>,
}

/// An event, as the ledger holds it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RecordedEvent)]
pub(crate) struct EventBody {
    position: i64,
    #[schema(example = "order-ORD202412010001")]
    stream_id: String,
    version: i64,
    #[schema(value_type = String, format = "uuid")]
    event_id: Uuid,
    #[serde(rename = "type")]
    #[schema(example = "OrderPlaced")]
    event_type: String,
    schema_version: i16,
    recorded_at: DateTime<Utc>,
    /// The event's fields.
    #[schema(value_type = Object)]
    data: Box<RawValue>,
    /// Correlation, causation, actor, trace and mode.
    #[schema(value_type = Object)]
    metadata: Box<RawValue>,
}

/// A page of events.
#[derive(ToSchema)]
#[schema(as = EventList)]
#[expect(dead_code, reason = "documents a ListBody of events")]
pub(crate) struct EventListBody {
    items: Vec<EventBody>,
    /// Give it back for the next page, as the parameter that the call names; null at the end.
    next: Option<String>,
}

/// The events of an order, oldest first, straight from the ledger.
#[utoipa::path(
    get,
    path = "/v1/orders/{orderId}/events",
    tag = "orders",
    params(("orderId" = String, Path), ListEvents),
    responses((status = 200, description = "Its events", body = EventListBody), CallerProblems, NotFoundProblem, ParameterProblems)
)]
pub(crate) async fn events(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(id): PathId<OrderId>,
    QueryParams(query): QueryParams<ListEvents>,
) -> Result<Json<ListBody<EventBody>>, Problem> {
    let rows = page_rows(query.limit.as_deref())?;
    let after: i64 = parse_param("after", query.after.as_deref())?.unwrap_or(0);
    visible_order(&api, &caller, &id).await?;
    let stream_id = Order::stream_id(id.as_str());
    let events = read::stream(&api.queries, &stream_id, after, i64::from(rows)).await?;
    let full = events.len() == rows as usize;
    let next = events.last().filter(|_| full).map(|last| last.version.to_string());
    let items = events.into_iter().map(EventBody::read).collect::<Result<_, _>>()?;
    Ok(Json(ListBody { items, next }))
}

impl EventBody {
    pub(crate) fn read(event: RecordedEvent) -> Result<Self, Problem> {
        Ok(Self {
            position: event.position,
            stream_id: event.stream_id,
            version: event.version,
            event_id: event.event_id,
            event_type: event.event_type,
            schema_version: event.schema_version,
            recorded_at: event.recorded_at,
            data: RawValue::from_string(event.payload).map_err(Problem::internal)?,
            metadata: RawValue::from_string(event.metadata).map_err(Problem::internal)?,
        })
    }
}
