//! How it was lately, drawn.

use api::auth::Role;

use crate::support::{TestApi, get};

const CHARTS: [&str; 4] = ["throughput", "lag", "outbox-age", "critical-time"];

#[tokio::test]
async fn every_chart_is_drawn_as_wide_as_asked_in_the_colours_of_the_page() {
    let api = TestApi::start().await;
    sqlx::query(include_str!("charts/samples.sql")).execute(&api.pool).await.unwrap();
    for chart in CHARTS {
        let uri = format!("/v1/admin/charts/{chart}.svg?minutes=30&width=390&utcOffsetMinutes=480");
        let drawn = api.call(get(uri).role(9, Role::Auditor)).await;
        assert_eq!((drawn.status, drawn.header("content-type")), (200, "image/svg+xml"), "{drawn:?}");
        assert!(drawn.text.starts_with("<svg width=\"390\""), "{chart}: {}", drawn.text);
        assert!(drawn.text.contains("<polyline") && drawn.text.contains("var(--chart-1"), "{chart}: {}", drawn.text);
        assert!(!drawn.text.contains("unknown"), "{chart}: {}", drawn.text);
    }
}

#[tokio::test]
async fn a_time_nobody_measured_is_a_gap() {
    let api = TestApi::start().await;
    let nothing = api.call(get("/v1/admin/charts/throughput.svg").admin()).await;
    assert!(
        nothing.text.contains("<desc>orders: unknown; events: unknown; messages sent: unknown</desc>"),
        "{nothing:?}"
    );

    let lines = async || {
        let drawn = api.call(get("/v1/admin/charts/outbox-age.svg?minutes=30").admin()).await;
        drawn.text.matches("<polyline").count()
    };
    sqlx::query(include_str!("charts/samples.sql")).execute(&api.pool).await.unwrap();
    let whole = lines().await;
    let forget = "DELETE FROM operations.sample WHERE sampled_at BETWEEN clock_timestamp() - interval '15 minutes' \
         AND clock_timestamp() - interval '5 minutes'";
    sqlx::query(forget).execute(&api.pool).await.unwrap();
    assert_eq!(lines().await, whole + 1);
}

#[tokio::test]
async fn what_can_not_be_drawn_is_refused() {
    let api = TestApi::start().await;
    let asked = async |path: &str| api.call(get(format!("/v1/admin/charts/{path}")).admin()).await;
    assert_eq!(asked("nothing.svg").await.problem(), (404, "chart_not_found", ""));
    assert_eq!(asked("throughput.png").await.problem(), (404, "chart_not_found", ""));
    for (query, field) in [
        ("minutes=0", "minutes"),
        ("minutes=10081", "minutes"),
        ("width=239", "width"),
        ("width=x", "width"),
        ("utcOffsetMinutes=841", "utcOffsetMinutes"),
    ] {
        assert_eq!(asked(&format!("lag.svg?{query}")).await.problem(), (422, "invalid_value", field), "{query}");
    }
    assert_eq!(api.call(get("/v1/admin/charts/lag.svg").user(1)).await.problem().0, 403);
}
