//! The ledger, or a part of it, as staff read it: page by page, in order.

use axum::Json;
use axum::extract::State;
use domain::CATEGORIES;
use event_store::read;
use event_store::select::{Selection, stream_exists};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::admin::require_staff;
use crate::answer::ListBody;
use crate::auth::Caller;
use crate::extract::{QueryParams, parse_param};
use crate::openapi::{CallerProblems, NotFoundProblem, ParameterProblems};
use crate::orders::{EventBody, EventListBody, page_rows};
use crate::problem::Problem;
use crate::state::ApiState;

/// Which part of the ledger.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct SelectEvents {
    /// One stream, such as `order-ORD202611230001`.
    stream: Option<String>,
    /// The streams of one kind: order, stock, payment, fulfilment or notification.
    category: Option<String>,
    /// Events of one type, such as `OrderPlaced`.
    #[serde(rename = "type")]
    #[param(rename = "type")]
    event_type: Option<String>,
    /// Behind this position: `next` of the page before.
    #[param(value_type = Option<i64>, minimum = 0)]
    from: Option<String>,
    /// The last position.
    #[param(value_type = Option<i64>, minimum = 0)]
    to: Option<String>,
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<String>,
}

/// Events in the order of their positions, straight from the ledger. A page looks at a bounded stretch of it, so it may be
/// empty and still have a `next`.
#[utoipa::path(
    get,
    path = "/v1/admin/events",
    tag = "admin",
    params(SelectEvents),
    responses((status = 200, description = "A page of them", body = EventListBody), CallerProblems, NotFoundProblem, ParameterProblems)
)]
pub(crate) async fn list(
    caller: Caller,
    State(api): State<ApiState>,
    QueryParams(query): QueryParams<SelectEvents>,
) -> Result<Json<ListBody<EventBody>>, Problem> {
    require_staff(&caller)?;
    let rows = page_rows(query.limit.as_deref())?;
    let head = read::head(&api.queries).await?;
    let from: i64 = parse_param("from", query.from.as_deref())?.unwrap_or(0);
    let to: i64 = parse_param("to", query.to.as_deref())?.unwrap_or(head);
    check_range(from, to, head)?;
    check_what(&api, &query).await?;
    let selection = Selection { stream_id: query.stream, category: query.category, event_type: query.event_type };
    let page = selection.page(&api.queries, from, to, i64::from(rows)).await?;
    let next = (page.reached < to).then(|| page.reached.to_string());
    let items = page.events.into_iter().map(EventBody::read).collect::<Result<_, _>>()?;
    Ok(Json(ListBody { items, next }))
}

async fn check_what(api: &ApiState, query: &SelectEvents) -> Result<(), Problem> {
    let categories = CATEGORIES.map(|(category, _)| category);
    if query.category.as_deref().is_some_and(|category| !categories.contains(&category)) {
        return Err(Problem::invalid_value("category", format!("one of {}", categories.join(", "))));
    }
    let mut schemas = CATEGORIES.iter().flat_map(|(_, schemas)| *schemas);
    if query.event_type.as_deref().is_some_and(|wanted| schemas.all(|schema| schema.event_type != wanted)) {
        return Err(Problem::invalid_value("type", "a type of event, such as OrderPlaced"));
    }
    match &query.stream {
        Some(stream) if !stream_exists(&api.queries, stream).await? => {
            Err(Problem::not_found("stream_not_found", format!("there is no stream {stream}")))
        }
        _ => Ok(()),
    }
}

fn check_range(from: i64, to: i64, head: i64) -> Result<(), Problem> {
    for (name, position) in [("from", from), ("to", to)] {
        if !(0..=head).contains(&position) {
            let why = format!("{position} is no position of the ledger, which ends at {head}");
            return Err(Problem::invalid_value(name, why));
        }
    }
    if from > to {
        return Err(Problem::invalid_value("to", "it lies before `from`"));
    }
    Ok(())
}
