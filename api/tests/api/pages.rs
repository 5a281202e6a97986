//! The console's and the documentation's pages, as they are served.

use crate::support::{TestApi, get};

const ASSETS: [&str; 5] = ["/console", "/docs", "/console/app.js", "/console/style.css", "/console/i18n/zh.js"];

#[tokio::test]
async fn pages_need_no_token_and_may_load_nothing_of_others() {
    let api = TestApi::start().await;
    for path in ASSETS {
        let answer = api.call(get(path)).await;
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
    }
    assert_eq!(api.call(get("/console")).await.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(api.call(get("/console/app.js")).await.header("content-type"), "text/javascript; charset=utf-8");
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let api = TestApi::start().await;
    let first = api.call(get("/console/app.js")).await;
    let tag = first.header("etag").to_owned();
    let again = api.call(get("/console/app.js").header("if-none-match", &tag)).await;
    assert_eq!((again.status, again.text.as_str(), again.header("etag")), (304, "", tag.as_str()));
    let other = api.call(get("/console/style.css").header("if-none-match", &tag)).await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn there_is_nothing_beside_the_pages() {
    let api = TestApi::start().await;
    for path in ["/console/Cargo.toml", "/console/../src/lib.rs", "/console/nothing.js", "/docs/nothing"] {
        assert_eq!(api.call(get(path)).await.status, 404, "{path}");
    }
}
