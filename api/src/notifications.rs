//! What a user was told.

mod news;
mod updates;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use domain::UserId;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::answer::{LEDGER_POSITION, ListBody};
use crate::auth::Caller;
use crate::extract::{PathId, QueryParams};
use crate::openapi::{CallerProblems, ParameterProblems};
use crate::orders::page_rows;
use crate::problem::Problem;
use crate::state::ApiState;

pub(crate) use news::NotificationNews;
pub(crate) use updates::*;

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListNotifications {
    /// `next` of the page before.
    after: Option<String>,
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<String>,
}

/// A notification and how far it got on each channel.
#[derive(ToSchema)]
#[schema(as = Notification, rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what projections::NotificationView serializes to")]
pub(crate) struct NotificationBody {
    notification_id: String,
    user_id: i64,
    order_id: String,
    template: String,
    title: String,
    body: String,
    #[schema(example = "SENT")]
    status: String,
    channels: Vec<ChannelBody>,
    requested_at: chrono::DateTime<chrono::Utc>,
    version: i64,
    position: i64,
}

/// One channel of a notification.
#[derive(ToSchema)]
#[schema(as = NotificationChannel, rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what projections::NotificationView serializes to")]
pub(crate) struct ChannelBody {
    #[schema(example = "email")]
    channel: String,
    #[schema(example = "SENT")]
    status: String,
    provider_reference: Option<String>,
    reason: Option<String>,
}

/// A page of notifications.
#[derive(ToSchema)]
#[schema(as = NotificationList)]
#[expect(dead_code, reason = "documents a ListBody of notifications")]
pub(crate) struct NotificationListBody {
    items: Vec<NotificationBody>,
    /// Give it as `after` for the next page; null at the end.
    next: Option<String>,
}

/// A user's notifications, newest first.
#[utoipa::path(
    get,
    path = "/v1/users/{userId}/notifications",
    tag = "users",
    params(("userId" = i64, Path, minimum = 1), ListNotifications),
    responses((status = 200, description = "A page", body = NotificationListBody), CallerProblems, ParameterProblems)
)]
pub(crate) async fn list(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(user): PathId<UserId>,
    QueryParams(query): QueryParams<ListNotifications>,
) -> Result<impl IntoResponse, Problem> {
    if !caller.may_see(user) {
        return Err(Problem::forbidden("notifications are for their user"));
    }
    let rows = page_rows(query.limit.as_deref())?;
    let page = projections::notifications::of_user(&api.queries, user, query.after.as_deref(), rows).await?;
    let position = [(LEDGER_POSITION, page.position.to_string())];
    Ok((position, Json(ListBody { items: page.items, next: page.next })))
}
