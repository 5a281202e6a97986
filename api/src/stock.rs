//! What is left of a ticket type, from the cache and the ledger.
//!
//! The cache saves the read model's row: the ledger is asked for the event the cache tells of and for those after it, in
//! one look, so that the answer is current, and a cache that tells of another ledger is found out. Who can do with an
//! answer that is a little old says so, and the ledger is not asked.
//!
//! What is kept comes from the ledger and never from that row: where the read model was damaged, a rebuild mends the answers
//! at once.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::ETAG;
use axum::response::IntoResponse;
use domain::{Decider, Stock, TicketTypeId};
use metrics::{counter, describe_counter};
use processors::stock_cache::CachedStock;
use projections::StockView;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::auth::Caller;
use crate::extract::{PathId, QueryParams};
use crate::moment;
use crate::openapi::{CallerProblems, NotFoundProblem, ParameterProblems};
use crate::problem::Problem;
use crate::state::ApiState;
use crate::ticket_types::StockBody;

/// Keeping an answer for the next query is no reason to let this one wait.
const REMEMBER_TIMEOUT: Duration = Duration::from_millis(20);
const READS: &str = "ledger_stock_cache_reads_total";
const OUTCOMES: [&str; 4] = ["hit", "miss", "refuted", "unavailable"];

/// How old the answer may be.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct StockQuery {
    /// `current` (the default), or `cached`: as it was at most `cache.ttl_ms` ago, for pages that many look at.
    #[param(value_type = Option<String>, example = "cached")]
    consistency: Option<String>,
    /// As it was after this ledger position, or at this time (RFC 3339): after the last event recorded at or before it by
    /// the database's clock. Not together with `consistency`. Of a ticket type with more than `http.max_past_events` events by
    /// then for staff only.
    #[param(example = "2024-12-01T12:00:00Z")]
    at: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Consistency {
    Current,
    Cached,
}

/// What is left of a ticket type, or was.
#[utoipa::path(
    get,
    path = "/v1/ticket-types/{ticketTypeId}/stock",
    tag = "stock",
    params(("ticketTypeId" = i64, Path, minimum = 1), StockQuery),
    responses(
        (status = 200, description = "The stock", body = StockBody, headers(("ETag" = String, description = "Its stream version"))),
        CallerProblems,
        NotFoundProblem,
        ParameterProblems
    )
)]
pub(crate) async fn get(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(id): PathId<TicketTypeId>,
    QueryParams(query): QueryParams<StockQuery>,
) -> Result<impl IntoResponse, Problem> {
    let consistency = Consistency::read(query.consistency.as_deref())?;
    let found = match query.at {
        None => find(&api, id, consistency).await?,
        Some(_) if query.consistency.is_some() => {
            return Err(Problem::invalid_value("consistency", "left out where `at` is given"));
        }
        Some(at) => {
            let position = moment::position(&api, &at).await?;
            moment::check_work(&api, &caller, &Stock::stream_id(&id.to_string()), position).await?;
            projections::stock::at(&api.queries, id, position).await?
        }
    };
    let unknown = || Problem::not_found("ticket_type_not_found", format!("there is no ticket type {id}"));
    let stock = StockBody::from(found.ok_or_else(unknown)?);
    Ok(([(ETAG, format!("\"{}\"", stock.version()))], Json(stock)))
}

async fn find(api: &ApiState, id: TicketTypeId, consistency: Consistency) -> Result<Option<StockView>, Problem> {
    if let Some(kept) = kept(api, id).await {
        if consistency == Consistency::Cached {
            return Ok(Some(kept));
        }
        if let Some(current) = projections::stock::get_from(&api.queries, kept).await? {
            return Ok(Some(current));
        }
        count("refuted");
    }
    let stock = projections::stock::get(&api.queries, id).await?;
    if stock.is_some() {
        remember(api, id).await;
    }
    Ok(stock)
}

/// What the cache holds, if it answers.
async fn kept(api: &ApiState, id: TicketTypeId) -> Option<StockView> {
    let stock = match api.stock_cache.get(id).await {
        Ok(stock) => stock,
        Err(away) => {
            tracing::debug!(%away, "a query does without the cache");
            count("unavailable");
            return None;
        }
    };
    count(if stock.is_some() { "hit" } else { "miss" });
    view(api, stock?).await
}

async fn view(api: &ApiState, stock: CachedStock) -> Option<StockView> {
    let ticket_type = api.catalogue.find(&api.ledger, stock.ticket_type_id).await.ok()??;
    Some(StockView {
        ticket_type_id: stock.ticket_type_id,
        show_id: ticket_type.show_id,
        name: ticket_type.name,
        price: ticket_type.price,
        capacity: stock.capacity,
        available: stock.available,
        locked: stock.locked,
        sold: stock.sold,
        version: stock.version,
        position: stock.position,
    })
}

async fn remember(api: &ApiState, id: TicketTypeId) {
    // The answer is there already; without this the next one is looked for in the same place.
    let Ok(stock) = api.ledger.load::<Stock>(&id.to_string()).await else { return };
    let Ok(version) = i64::try_from(stock.version) else { return };
    let stock = CachedStock {
        ticket_type_id: id,
        capacity: stock.state.capacity.into(),
        available: stock.state.available.into(),
        locked: stock.state.locked.into(),
        sold: stock.state.sold.into(),
        version,
        position: stock.position,
    };
    let _ = tokio::time::timeout(REMEMBER_TIMEOUT, api.stock_cache.offer(&[stock])).await;
}

pub(crate) fn register_metrics() {
    describe_counter!(READS, "Stock queries by what the cache had for them");
    for outcome in OUTCOMES {
        counter!(READS, "outcome" => outcome).absolute(0);
    }
}

fn count(outcome: &'static str) {
    counter!(READS, "outcome" => outcome).increment(1);
}

impl Consistency {
    fn read(name: Option<&str>) -> Result<Self, Problem> {
        match name {
            None | Some("current") => Ok(Self::Current),
            Some("cached") => Ok(Self::Cached),
            Some(_) => Err(Problem::invalid_value("consistency", "`current` or `cached`")),
        }
    }
}
