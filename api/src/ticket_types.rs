//! Ticket types: putting them on sale, and how many there are.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use domain::{Money, TicketTypeId};
use event_store::Committed;
use processors::commands::{self, Origin, PutOnSale, StockLevels, put_ticket_type_on_sale};
use projections::StockView;
use projections::stock::StockFilter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::answer::{LEDGER_POSITION, ListBody};
use crate::auth::{Caller, Role};
use crate::extract::{JsonBody, PathId, QueryParams, parse_param};
use crate::fields;
use crate::openapi::{BodyProblems, CallerProblems, ConflictProblem, NotFoundProblem, ParameterProblems};
use crate::orders::page_rows;
use crate::problem::Problem;
use crate::request_context::RequestContext;
use crate::state::ApiState;

/// A new ticket type.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewTicketType)]
pub(crate) struct PutOnSaleBody {
    #[schema(minimum = 1, example = 7)]
    show_id: i64,
    #[schema(minimum = 1, example = 42)]
    ticket_type_id: i64,
    #[schema(min_length = 1, max_length = 100, example = "Stalls")]
    name: String,
    /// Not negative, at most two decimals.
    #[schema(value_type = f64, minimum = 0, example = 299.00)]
    price: Money,
    #[schema(minimum = 0, maximum = 10_000_000, example = 100)]
    capacity: i64,
}

/// How the number of tickets changes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = CapacityChange)]
pub(crate) struct ChangeCapacityBody {
    /// Tickets to add; negative: tickets to withdraw, of those nobody has.
    #[schema(minimum = -10_000_000, maximum = 10_000_000, example = 50)]
    delta: i64,
}

/// What is left of a ticket type. `available + locked + sold = capacity`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Stock)]
pub(crate) struct StockBody {
    #[schema(example = 42)]
    ticket_type_id: i64,
    show_id: i64,
    name: String,
    #[schema(value_type = f64, example = 299.00)]
    price: Money,
    capacity: i64,
    available: i64,
    locked: i64,
    sold: i64,
    version: i64,
    position: i64,
}

/// Which ticket types.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct ListTicketTypes {
    /// Of this show only.
    #[param(value_type = Option<i64>, minimum = 1)]
    show_id: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<String>,
}

/// A page of ticket types.
#[derive(ToSchema)]
#[schema(as = StockList)]
#[expect(dead_code, reason = "documents a ListBody of stocks")]
pub(crate) struct StockListBody {
    items: Vec<StockBody>,
    /// Give it as `after` for the next page; null at the end.
    next: Option<String>,
}

/// Ticket types and what is left of them as far as it is projected, by id.
#[utoipa::path(
    get,
    path = "/v1/ticket-types",
    tag = "stock",
    params(ListTicketTypes),
    responses(
        (status = 200, description = "A page", body = StockListBody, headers(("Ledger-Position" = i64))),
        CallerProblems,
        ParameterProblems
    )
)]
pub(crate) async fn list(
    _: Caller,
    State(api): State<ApiState>,
    QueryParams(query): QueryParams<ListTicketTypes>,
) -> Result<impl IntoResponse, Problem> {
    let filter = StockFilter {
        show_id: parse_param("showId", query.show_id.as_deref())?.map(fields::show_id).transpose()?,
        after: parse_param("after", query.after.as_deref())?,
        limit: page_rows(query.limit.as_deref())?,
    };
    let page = projections::stock::list(&api.queries, &filter).await?;
    let items: Vec<StockBody> = page.items.into_iter().map(StockBody::from).collect();
    Ok(([(LEDGER_POSITION, page.position.to_string())], Json(ListBody { items, next: page.next })))
}

/// Puts a ticket type on sale. From the answer on it can be ordered on every instance.
#[utoipa::path(
    post,
    path = "/v1/ticket-types",
    tag = "stock",
    request_body = PutOnSaleBody,
    responses(
        (status = 201, description = "On sale", body = StockBody, headers(("Location" = String))),
        CallerProblems,
        ConflictProblem,
        BodyProblems
    )
)]
pub(crate) async fn put_on_sale(
    caller: Caller,
    context: RequestContext,
    State(api): State<ApiState>,
    JsonBody(body): JsonBody<PutOnSaleBody>,
) -> Result<impl IntoResponse, Problem> {
    caller.require_any(&[Role::Admin])?;
    let request = body.validate()?;
    let origin = Origin::new(context.metadata_of(&caller, None));
    let stock = StockBody::from(put_ticket_type_on_sale(&api.ledger, origin, request).await?);
    let location = format!("/v1/ticket-types/{}/stock", stock.ticket_type_id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(stock)))
}

/// Adds tickets to a ticket type, or withdraws some that nobody has.
#[utoipa::path(
    post,
    path = "/v1/ticket-types/{ticketTypeId}/capacity",
    tag = "stock",
    params(("ticketTypeId" = i64, Path, minimum = 1)),
    request_body = ChangeCapacityBody,
    responses((status = 200, description = "The stock as it is now", body = StockBody), CallerProblems, NotFoundProblem, ConflictProblem, BodyProblems)
)]
pub(crate) async fn change_capacity(
    caller: Caller,
    context: RequestContext,
    State(api): State<ApiState>,
    PathId(id): PathId<TicketTypeId>,
    JsonBody(body): JsonBody<ChangeCapacityBody>,
) -> Result<Json<StockBody>, Problem> {
    caller.require_any(&[Role::Admin])?;
    let delta = body.validate()?;
    let origin = Origin::new(context.metadata_of(&caller, None));
    let changed = commands::change_capacity(&api.ledger, origin, id, delta).await?;
    Ok(Json(changed.into()))
}

const MAX_NAME_CHARS: usize = 100;
const MAX_CAPACITY: u32 = 10_000_000;

impl PutOnSaleBody {
    fn validate(self) -> Result<PutOnSale, Problem> {
        let capacity = u32::try_from(self.capacity).ok().filter(|capacity| *capacity <= MAX_CAPACITY);
        Ok(PutOnSale {
            show_id: fields::show_id(self.show_id)?,
            ticket_type_id: fields::ticket_type_id(self.ticket_type_id)?,
            name: fields::line("name", self.name, MAX_NAME_CHARS)?,
            price: self.price,
            capacity: capacity.ok_or_else(|| Problem::invalid_value("capacity", format!("0 to {MAX_CAPACITY}")))?,
        })
    }
}

impl ChangeCapacityBody {
    fn validate(&self) -> Result<i64, Problem> {
        let size = self.delta.unsigned_abs();
        if (1..=u64::from(MAX_CAPACITY)).contains(&size) {
            Ok(self.delta)
        } else {
            Err(Problem::invalid_value("delta", format!("not 0, and at most {MAX_CAPACITY} either way")))
        }
    }
}

impl StockBody {
    pub(crate) fn version(&self) -> i64 {
        self.version
    }
}

impl From<Committed<StockLevels>> for StockBody {
    fn from(committed: Committed<StockLevels>) -> Self {
        let stock = committed.value;
        Self {
            ticket_type_id: stock.ticket_type_id.get(),
            show_id: stock.show_id.get(),
            name: stock.name,
            price: stock.price,
            capacity: stock.capacity.into(),
            available: stock.available.into(),
            locked: stock.locked.into(),
            sold: stock.sold.into(),
            version: i64::try_from(stock.version).unwrap_or(i64::MAX),
            position: committed.position.unwrap_or_default(),
        }
    }
}

impl From<StockView> for StockBody {
    fn from(stock: StockView) -> Self {
        Self {
            ticket_type_id: stock.ticket_type_id.get(),
            show_id: stock.show_id.get(),
            name: stock.name,
            price: stock.price,
            capacity: stock.capacity,
            available: stock.available,
            locked: stock.locked,
            sold: stock.sold,
            version: stock.version,
            position: stock.position,
        }
    }
}
