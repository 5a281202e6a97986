//! Serves the assets, with headers that let the pages load nothing but them and call nobody but this server.

use axum::Router;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::assets::{self, Asset};

/// No script, style or picture but ours, no inline ones, no request to anybody else, in nobody's frame.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    // Asked again each time, and answered 304: a new binary's modules must not meet an old one's.
    (CACHE_CONTROL, "no-cache"),
];

/// `/console`, what it is made of, and `/docs`. Needs no token: the assets are the same for all.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/console", get(|headers: HeaderMap| answer(Some(assets::CONSOLE), headers)))
        .route("/console/", get(|headers: HeaderMap| answer(Some(assets::CONSOLE), headers)))
        .route("/docs", get(|headers: HeaderMap| answer(Some(assets::DOCS), headers)))
        .route(
            "/console/{*path}",
            get(|Path(path): Path<String>, headers| async move { answer(Some(&path), headers).await }),
        )
}

async fn answer(path: Option<&str>, headers: HeaderMap) -> Response {
    let Some(asset) = path.and_then(assets::find) else { return StatusCode::NOT_FOUND.into_response() };
    let tag = asset.entity_tag();
    let is_known = headers.get(IF_NONE_MATCH).is_some_and(|known| lists(known, &tag));
    let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { body(asset) };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

fn body(asset: &'static Asset) -> Response {
    ([(CONTENT_TYPE, asset.content_type())], asset.text).into_response()
}

fn lists(header: &HeaderValue, tag: &str) -> bool {
    header.to_str().is_ok_and(|list| list.split(',').any(|known| known.trim().trim_start_matches("W/") == tag))
}
