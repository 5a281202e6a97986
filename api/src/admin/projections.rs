//! The read models and how far each one is.

use axum::Json;
use axum::extract::State;
use projections::ProjectionLag;
use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::require_staff;
use crate::answer::ListBody;
use crate::auth::Caller;
use crate::openapi::CallerProblems;
use crate::problem::Problem;
use crate::state::ApiState;

/// A projection.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Projection)]
pub(crate) struct ProjectionBody {
    #[schema(example = "orders")]
    name: String,
    /// The version of its table that queries see.
    active_version: i32,
    /// The version of the fold that built it.
    code_version: i32,
    /// The last ledger position applied.
    position: i64,
    /// The ledger's last position.
    head: i64,
    /// Events not yet applied.
    lag_events: i64,
    /// The age of the oldest of them; null where that is not known.
    lag_seconds: Option<f64>,
}

/// All projections.
#[derive(ToSchema)]
#[schema(as = ProjectionList)]
#[expect(dead_code, reason = "documents a ListBody of projections")]
pub(crate) struct ProjectionListBody {
    items: Vec<ProjectionBody>,
    next: Option<String>,
}

/// The projections.
#[utoipa::path(
    get,
    path = "/v1/admin/projections",
    tag = "admin",
    responses((status = 200, description = "All of them", body = ProjectionListBody), CallerProblems)
)]
pub(crate) async fn list(
    caller: Caller,
    State(api): State<ApiState>,
) -> Result<Json<ListBody<ProjectionBody>>, Problem> {
    require_staff(&caller)?;
    let items = projections::lag(&api.queries).await?.into_iter().map(ProjectionBody::from).collect();
    Ok(Json(ListBody { items, next: None }))
}

impl From<ProjectionLag> for ProjectionBody {
    fn from(lag: ProjectionLag) -> Self {
        Self {
            lag_events: lag.lag_events(),
            name: lag.name,
            active_version: lag.active_version,
            code_version: lag.code_version,
            position: lag.position,
            head: lag.head,
            lag_seconds: lag.lag_seconds,
        }
    }
}
