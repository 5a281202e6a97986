//! `?at=`: a thing as it was at a position of the ledger, or at a time.

use chrono::DateTime;
use event_store::select;
use projections::Moment;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::auth::Caller;
use crate::problem::Problem;
use crate::state::ApiState;

/// When it is looked at.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct AtQuery {
    /// As it was after this ledger position, or at this time (RFC 3339): after the last event recorded at or before it by
    /// the database's clock. Without it: as it is now.
    #[param(example = "2024-12-01T12:00:00Z")]
    pub at: Option<String>,
}

/// The ledger position that `at` means; 422 where it means nothing, or what has not been yet.
pub(crate) async fn position(api: &ApiState, at: &str) -> Result<i64, Problem> {
    let beyond = || Problem::invalid_value("at", "a position that the ledger has come to, or a time that has been");
    parse(at)?.position(&api.queries).await?.ok_or_else(beyond)
}

/// The past is folded from a stream's first event on, and that of a ticket type has some for each order ever placed: what
/// would be too much work is done for staff only. 422 for others.
pub(crate) async fn check_work(api: &ApiState, caller: &Caller, stream_id: &str, position: i64) -> Result<(), Problem> {
    let most = api.config.max_past_events;
    if caller.is_staff() || select::version_at(&api.queries, stream_id, position).await? <= most {
        return Ok(());
    }
    let why = format!("more than {most} events lie before it: only staff may look so far into a long past");
    Err(Problem::invalid_value("at", why))
}

fn parse(at: &str) -> Result<Moment, Problem> {
    if at.bytes().all(|byte| byte.is_ascii_digit()) && !at.is_empty() {
        // A number that is too long for one is beyond every head all the same.
        return Ok(Moment::Position(at.parse().unwrap_or(i64::MAX)));
    }
    let time = DateTime::parse_from_rfc3339(at)
        .map_err(|_| Problem::invalid_value("at", "a ledger position, or a time like 2024-12-01T12:00:00Z"))?;
    Ok(Moment::Time(time.to_utc()))
}
