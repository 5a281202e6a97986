use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use domain::{OrderStatus, UserId};
use projections::orders::OrderFilter;
use projections::{MAX_PAGE_ROWS, OrderView, ReadModel};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::OrderBody;
use crate::answer::{LEDGER_POSITION, ListBody};
use crate::auth::{Caller, Role};
use crate::extract::{QueryParams, parse_param};
use crate::fields;
use crate::openapi::{CallerProblems, ParameterProblems};
use crate::problem::{Problem, ProblemBody};
use crate::state::ApiState;

const DEFAULT_PAGE_ROWS: u32 = 50;
const MAX_WAIT_MS: u64 = 10_000;
const DEFAULT_WAIT_MS: u64 = 2_000;
pub(crate) const NOT_YET_VISIBLE: &str = "not_yet_visible";

/// Which orders, and how current.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct ListOrders {
    /// Whose; without it the token's user's, or everybody's for those who may see them.
    #[param(value_type = Option<i64>, minimum = 1)]
    user_id: Option<String>,
    #[param(example = "CONFIRMED")]
    status: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<String>,
    /// Answer only once everything up to this ledger position is in the list.
    #[param(value_type = Option<i64>, minimum = 0)]
    wait_for: Option<String>,
    /// How long to wait for that.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 10_000)]
    timeout_ms: Option<String>,
}

/// A page of orders.
#[derive(ToSchema)]
#[schema(as = OrderList)]
#[expect(dead_code, reason = "documents a ListBody of orders")]
pub(crate) struct OrderListBody {
    items: Vec<OrderBody>,
    /// Give it as `after` for the next page; null at the end.
    next: Option<String>,
}

/// Orders, newest first.
#[utoipa::path(
    get,
    path = "/v1/orders",
    tag = "orders",
    params(ListOrders),
    responses(
        (status = 200, description = "A page", body = OrderListBody, headers(("Ledger-Position" = i64, description = "Everything up to here is in the list"))),
        CallerProblems,
        ParameterProblems,
        (
            status = 503,
            description = "Not now, or `not_yet_visible`: the list has not reached `waitFor` in time",
            body = ProblemBody,
            content_type = "application/problem+json"
        )
    )
)]
pub(crate) async fn list(
    caller: Caller,
    State(api): State<ApiState>,
    QueryParams(query): QueryParams<ListOrders>,
) -> Result<impl IntoResponse, Problem> {
    let wait = query.wait()?;
    let filter = query.filter(&caller)?;
    if let Some(wait) = wait {
        wait.until_visible(&api).await?;
    }
    let page = projections::orders::list(&api.queries, &filter).await?;
    let position = [(LEDGER_POSITION, page.position.to_string())];
    Ok((position, Json(ListBody { items: page.items, next: page.next })))
}

impl ListOrders {
    fn filter(self, caller: &Caller) -> Result<OrderFilter, Problem> {
        Ok(OrderFilter {
            user_id: whose(caller, self.user_id.as_deref())?,
            status: self.status.as_deref().map(status).transpose()?,
            after: self.after,
            limit: page_rows(self.limit.as_deref())?,
        })
    }

    fn wait(&self) -> Result<Option<Wait>, Problem> {
        let position: Option<i64> = parse_param("waitFor", self.wait_for.as_deref())?;
        let timeout_ms = parse_param("timeoutMs", self.timeout_ms.as_deref())?.unwrap_or(DEFAULT_WAIT_MS);
        if timeout_ms > MAX_WAIT_MS {
            return Err(Problem::invalid_value("timeoutMs", format!("at most {MAX_WAIT_MS}")));
        }
        if position.is_some_and(|position| position < 0) {
            return Err(Problem::invalid_value("waitFor", "a ledger position is not negative"));
        }
        Ok(position.map(|position| Wait { position, timeout: Duration::from_millis(timeout_ms) }))
    }
}

/// None: everybody's, for those who may see them.
fn whose(caller: &Caller, user_id: Option<&str>) -> Result<Option<UserId>, Problem> {
    let Some(number) = parse_param("userId", user_id)? else {
        let sees_all = caller.require_any(&[Role::Operator, Role::Auditor, Role::Admin]).is_ok();
        return Ok((!sees_all).then(|| caller.user_id()));
    };
    let user = fields::user_id(number)?;
    if caller.may_see(user) {
        Ok(Some(user))
    } else {
        Err(Problem::forbidden("userId is not the token's user").field("userId"))
    }
}

fn status(text: &str) -> Result<OrderStatus, Problem> {
    let spelt = || {
        let names = OrderStatus::ALL.map(OrderStatus::as_str).join(", ");
        Problem::invalid_value("status", format!("one of {names}"))
    };
    OrderStatus::parse(text).ok_or_else(spelt)
}

/// The rows a page may have: 1 to [`MAX_PAGE_ROWS`].
pub(crate) fn page_rows(limit: Option<&str>) -> Result<u32, Problem> {
    let limit = parse_param("limit", limit)?.unwrap_or(DEFAULT_PAGE_ROWS);
    if (1..=MAX_PAGE_ROWS).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::invalid_value("limit", format!("1 to {MAX_PAGE_ROWS}")))
    }
}

struct Wait {
    position: i64,
    timeout: Duration,
}

impl Wait {
    async fn until_visible(&self, api: &ApiState) -> Result<(), Problem> {
        if api.checkpoints.wait_for(OrderView::NAME, self.position, self.timeout).await? {
            return Ok(());
        }
        let detail = format!("the list has not reached position {} in time", self.position);
        Err(Problem::unavailable(NOT_YET_VISIBLE, detail).field("waitFor"))
    }
}
