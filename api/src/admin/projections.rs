//! The read models: how far each one is, building one anew beside the one that is shown, and going back.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use processors::audit;
use projections::{ProjectionLag, Rebuild, rebuild};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;
use utoipa::ToSchema;

use crate::admin::{require_operator, require_staff};
use crate::answer::ListBody;
use crate::auth::Caller;
use crate::extract::{OptionalJsonBody, PathId, PathSegment};
use crate::openapi::{BodyProblems, CallerProblems, ConflictProblem, NotFoundProblem};
use crate::problem::Problem;
use crate::refusals::database_away;
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
    /// Another fold than this program's built it: rebuild it.
    rebuild_due: bool,
    /// The version that a rollback would show; null where there is none.
    previous_version: Option<i32>,
    /// The last ledger position applied.
    position: i64,
    /// The ledger's last position.
    head: i64,
    /// Events not yet applied.
    lag_events: i64,
    /// The age of the oldest of them; null where that is not known.
    lag_seconds: Option<f64>,
    /// The last rebuild, under way or over; null where there was none.
    rebuild: Option<RebuildBody>,
}

/// A rebuild of a projection.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Rebuild)]
pub(crate) struct RebuildBody {
    /// `running`, `verifying`, `done` or `failed`; a failed one changed nothing.
    #[schema(example = "running")]
    state: &'static str,
    /// It only compares.
    dry_run: bool,
    /// Of the table that is built.
    version: i32,
    /// The last ledger position that is built.
    position: i64,
    /// Where it has to come to.
    target: i64,
    /// Null while nobody works on it.
    events_per_second: Option<f64>,
    /// Of the building; null where it is not known.
    eta_seconds: Option<f64>,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    #[schema(example = "user:1")]
    requested_by: String,
    /// What was built shows what was shown; null before they were compared.
    unchanged: Option<bool>,
    /// Rows in which they differ.
    differences: Option<i64>,
    /// The first of these rows in words.
    examples: Vec<String>,
    /// Why it failed.
    problem: Option<String>,
}

/// All projections.
#[derive(ToSchema)]
#[schema(as = ProjectionList)]
#[expect(dead_code, reason = "documents a ListBody of projections")]
pub(crate) struct ProjectionListBody {
    items: Vec<ProjectionBody>,
    next: Option<String>,
}

/// How to rebuild.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schema(as = RebuildWish)]
pub(crate) struct RebuildWish {
    /// Build and compare, and show nothing of it.
    dry_run: bool,
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
    Ok(Json(ListBody { items: bodies(&api.queries).await?, next: None }))
}

/// Builds a projection anew beside the one that is shown, and shows it once it is found right. A `project` carries it out;
/// the list tells how far it is.
#[utoipa::path(
    post,
    path = "/v1/admin/projections/{name}/rebuild",
    tag = "admin",
    params(("name" = String, Path, example = "orders")),
    request_body(content = Option<RebuildWish>),
    responses(
        (status = 202, description = "It will be rebuilt", body = ProjectionBody),
        CallerProblems,
        BodyProblems,
        NotFoundProblem,
        ConflictProblem
    )
)]
pub(crate) async fn request_rebuild(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(ProjectionName(name)): PathId<ProjectionName>,
    OptionalJsonBody(wish): OptionalJsonBody<RebuildWish>,
) -> Result<(StatusCode, Json<ProjectionBody>), Problem> {
    require_operator(&caller)?;
    let actor = caller.actor();
    let mut transaction = api.queries.begin().await.map_err(database_away)?;
    let requested = rebuild::request(&mut transaction, name, wish.dry_run, &actor).await?;
    let detail = json!({ "version": requested.version, "dryRun": wish.dry_run });
    let action = audit::Action { actor: &actor, action: "projection.rebuild", subject: name, detail };
    audit::record(&mut *transaction, action).await.map_err(database_away)?;
    transaction.commit().await.map_err(database_away)?;
    Ok((StatusCode::ACCEPTED, Json(body(&api.queries, name).await?)))
}

/// Shows the version again that was shown before the last rebuild. What is shown now stays up to date beside it, for the way
/// forward.
#[utoipa::path(
    post,
    path = "/v1/admin/projections/{name}/rollback",
    tag = "admin",
    params(("name" = String, Path, example = "orders")),
    responses(
        (status = 200, description = "As it is now", body = ProjectionBody),
        CallerProblems,
        NotFoundProblem,
        ConflictProblem
    )
)]
pub(crate) async fn rollback(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(ProjectionName(name)): PathId<ProjectionName>,
) -> Result<Json<ProjectionBody>, Problem> {
    require_operator(&caller)?;
    let actor = caller.actor();
    let mut transaction = api.queries.begin().await.map_err(database_away)?;
    let version = rebuild::rollback(&mut transaction, name).await?;
    let detail = json!({ "version": version });
    let action = audit::Action { actor: &actor, action: "projection.rollback", subject: name, detail };
    audit::record(&mut *transaction, action).await.map_err(database_away)?;
    transaction.commit().await.map_err(database_away)?;
    Ok(Json(body(&api.queries, name).await?))
}

/// Every projection with its last rebuild.
pub(crate) async fn bodies(queries: &PgPool) -> Result<Vec<ProjectionBody>, Problem> {
    let rebuilds = rebuild::last_of_all(queries).await?;
    Ok(join(projections::lag(queries).await?, rebuilds))
}

/// Each projection with its last rebuild.
pub(crate) fn join(lags: Vec<ProjectionLag>, mut rebuilds: Vec<Rebuild>) -> Vec<ProjectionBody> {
    let body = |lag: ProjectionLag| {
        let last = rebuilds.iter().position(|rebuild| rebuild.name == lag.name).map(|at| rebuilds.swap_remove(at));
        ProjectionBody::new(lag, last)
    };
    lags.into_iter().map(body).collect()
}

async fn body(queries: &PgPool, name: &str) -> Result<ProjectionBody, Problem> {
    bodies(queries).await?.into_iter().find(|body| body.name == name).ok_or_else(|| projection_not_found(name))
}

fn projection_not_found(name: &str) -> Problem {
    let known = projections::NAMES.join(", ");
    Problem::not_found("projection_not_found", format!("there is no projection called {name}, only {known}"))
}

/// The name of a projection there is.
pub(crate) struct ProjectionName(&'static str);

impl PathSegment for ProjectionName {
    fn read(segment: &str) -> Result<Self, Problem> {
        let known = projections::NAMES.into_iter().find(|name| *name == segment);
        known.map(Self).ok_or_else(|| projection_not_found(segment))
    }
}

impl ProjectionBody {
    fn new(lag: ProjectionLag, rebuild: Option<Rebuild>) -> Self {
        Self {
            lag_events: lag.lag_events(),
            rebuild_due: lag.is_rebuild_due(),
            name: lag.name,
            active_version: lag.active_version,
            code_version: lag.code_version,
            previous_version: lag.previous_version,
            position: lag.position,
            head: lag.head,
            lag_seconds: lag.lag_seconds,
            rebuild: rebuild.map(RebuildBody::from),
        }
    }
}

impl From<Rebuild> for RebuildBody {
    fn from(rebuild: Rebuild) -> Self {
        Self {
            state: rebuild.state.as_str(),
            eta_seconds: rebuild.eta_seconds(),
            unchanged: rebuild.unchanged(),
            dry_run: rebuild.dry_run,
            version: rebuild.version,
            position: rebuild.position,
            target: rebuild.target,
            events_per_second: rebuild.events_per_second,
            started_at: rebuild.started_at,
            ended_at: rebuild.ended_at,
            requested_by: rebuild.requested_by,
            differences: rebuild.differences,
            examples: rebuild.examples,
            problem: rebuild.problem,
        }
    }
}
