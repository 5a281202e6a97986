//! What operators did.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use processors::audit::{self, ActionFilter};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::require_staff;
use crate::answer::ListBody;
use crate::auth::Caller;
use crate::extract::{QueryParams, parse_param};
use crate::openapi::{CallerProblems, ParameterProblems};
use crate::orders::page_rows;
use crate::problem::Problem;
use crate::refusals::database_away;
use crate::state::ApiState;

/// Which actions.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListActions {
    #[param(example = "user:1")]
    actor: Option<String>,
    /// An action, or what comes before the dot of several: `rollout` finds `rollout.change`.
    #[param(example = "rollout.change")]
    action: Option<String>,
    /// To what it was done, such as an order's id.
    subject: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<String>,
}

/// Something an operator did, or a rule that acted by itself.
#[derive(ToSchema)]
#[schema(as = AuditedAction, rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what processors::audit::RecordedAction serializes to")]
pub(crate) struct ActionBody {
    action_id: i64,
    recorded_at: DateTime<Utc>,
    /// `user:1`, or `system`.
    #[schema(example = "user:1")]
    actor: String,
    #[schema(example = "rollout.change")]
    action: String,
    #[schema(example = "rollout")]
    subject: String,
    #[schema(value_type = Object)]
    detail: serde_json::Value,
}

/// A page of actions.
#[derive(ToSchema)]
#[schema(as = AuditedActionList)]
#[expect(dead_code, reason = "documents a ListBody of actions")]
pub(crate) struct ActionListBody {
    items: Vec<ActionBody>,
    /// Give it as `after` for the next page; null at the end.
    next: Option<String>,
}

/// What operators did, newest first: who, what, to what, and why.
#[utoipa::path(
    get,
    path = "/v1/admin/audit",
    tag = "admin",
    params(ListActions),
    responses((status = 200, description = "A page", body = ActionListBody), CallerProblems, ParameterProblems)
)]
pub(crate) async fn list(
    caller: Caller,
    State(api): State<ApiState>,
    QueryParams(query): QueryParams<ListActions>,
) -> Result<Json<ListBody<audit::RecordedAction>>, Problem> {
    require_staff(&caller)?;
    let rows = page_rows(query.limit.as_deref())? as usize;
    let filter = ActionFilter {
        actor: query.actor.as_deref(),
        action: query.action.as_deref(),
        subject: query.subject.as_deref(),
        before: parse_param("after", query.after.as_deref())?,
    };
    // One too many tells whether there are more.
    let limit = i64::try_from(rows + 1).unwrap_or(i64::MAX);
    let mut items = audit::find(&api.queries, &filter, limit).await.map_err(database_away)?;
    let more = items.len() > rows;
    items.truncate(rows);
    let next = items.last().filter(|_| more).map(|last| last.action_id.to_string());
    Ok(Json(ListBody { items, next }))
}
