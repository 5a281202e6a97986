//! Which call is where, and what stands before it.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::Problem;
use crate::state::ApiState;
use crate::{
    admin, auth, cancellation, contacts, health, http_metrics, limits, notifications, openapi, orders,
    payment_callback, payments, request_context, stock, ticket_types,
};

/// The whole interface.
pub fn router(state: ApiState) -> Router {
    let (calls, document) = calls(&state).split_for_parts();
    let rendered: Arc<str> = document.to_json().unwrap_or_default().into();
    calls
        .route("/openapi.json", get(move || async move { openapi::serve(&rendered) }))
        .merge(operator_console::router())
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(limits::answer_panic))
        .layer(from_fn(request_context::identify))
        .layer(from_fn(http_metrics::count))
        .with_state(state)
}

/// Has the series of each call there from the start.
pub(crate) fn register_metrics() {
    let calls = limited_calls();
    let paths = calls.get_openapi().paths.paths.iter();
    http_metrics::register(paths.flat_map(|(route, item)| {
        let methods = [("GET", &item.get), ("POST", &item.post), ("PUT", &item.put), ("DELETE", &item.delete)];
        methods
            .into_iter()
            .filter(|(_, operation)| operation.is_some())
            .map(move |(method, _)| (method, route.as_str()))
    }));
}

/// All but health, which nobody should be kept from.
fn limited_calls() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(payment_callback::receive)).merge(calls_with_token())
}

/// From the outside in: requests in flight, time, then for most calls who it is and how often they may.
fn calls(state: &ApiState) -> OpenApiRouter<ApiState> {
    let with_token = calls_with_token()
        .route_layer(from_fn_with_state(state.clone(), limits::limit_rate))
        .route_layer(from_fn_with_state(state.clone(), auth::authenticate));
    let limited = OpenApiRouter::default()
        .routes(routes!(payment_callback::receive))
        .merge(with_token)
        .route_layer(from_fn_with_state(state.clone(), limits::bound_time))
        .route_layer(from_fn_with_state(state.clone(), limits::refuse_overload));
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .merge(limited)
        .layer(DefaultBodyLimit::max(state.config.max_body_bytes))
}

fn calls_with_token() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(orders::place, orders::list))
        .routes(routes!(orders::get))
        .routes(routes!(orders::events))
        .routes(routes!(orders::timeline))
        .routes(routes!(orders::updates))
        .routes(routes!(cancellation::cancel))
        .routes(routes!(payments::pay))
        .routes(routes!(payments::get))
        .routes(routes!(ticket_types::put_on_sale, ticket_types::list))
        .routes(routes!(ticket_types::change_capacity))
        .routes(routes!(stock::get))
        .routes(routes!(notifications::list))
        .routes(routes!(notifications::updates))
        .routes(routes!(contacts::get, contacts::put))
        .routes(routes!(admin::lag::get))
        .routes(routes!(admin::history::get))
        .routes(routes!(admin::updates::updates))
        .routes(routes!(admin::charts::get))
        .routes(routes!(admin::audit::list))
        .routes(routes!(admin::parked::list))
        .routes(routes!(admin::parked::release))
        .routes(routes!(admin::parked::skip))
        .routes(routes!(admin::projections::list))
        .routes(routes!(admin::projections::request_rebuild))
        .routes(routes!(admin::projections::rollback))
        .routes(routes!(admin::rollout::get, admin::rollout::put))
        .routes(routes!(admin::rollout::status))
        .routes(routes!(admin::rollout::report))
        .routes(routes!(admin::events::list))
        .routes(routes!(admin::dead_letters::list))
        .routes(routes!(admin::dead_letters::groups))
        .routes(routes!(admin::dead_letters::get, admin::dead_letters::discard))
        .routes(routes!(admin::dead_letters::redrive))
        .routes(routes!(admin::redrives::start, admin::redrives::list))
        .routes(routes!(admin::redrives::get))
        .routes(routes!(admin::redrives::cancel))
        .routes(routes!(admin::sagas::list))
        .routes(routes!(admin::sagas::resolve))
}

async fn unknown_route(uri: Uri) -> Problem {
    Problem::not_found("not_found", format!("there is nothing at {}", uri.path()))
}

async fn wrong_method(method: Method) -> Problem {
    let detail = format!("{method} is not a method of this address; Allow lists them");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}
