//! How it was lately, drawn.

use std::time::Duration;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use chrono::{DateTime, TimeDelta, Utc};
use operator_console::chart::{self, Chart, MAX_WIDTH_PX, MIN_WIDTH_PX, Series};
use serde::Deserialize;
use utoipa::IntoParams;
use watch::history::{self, Past, Sample};

use super::require_staff;
use crate::auth::Caller;
use crate::extract::{PathId, PathSegment, QueryParams, parse_param};
use crate::openapi::{CallerProblems, NotFoundProblem, ParameterProblems};
use crate::problem::Problem;
use crate::refusals::database_away;
use crate::state::ApiState;

const DEFAULT_MINUTES: u32 = 60;
/// A week: as far as somebody might keep it.
const MAX_MINUTES: u32 = 7 * 24 * 60;
/// The least that is shown, where so much was asked for.
const MIN_SHOWN_MINUTES: i64 = 5;
const DEFAULT_WIDTH_PX: u32 = 640;
/// The clocks of the world are no further apart from UTC.
const MAX_UTC_OFFSET_MINUTES: i32 = 14 * 60;
/// So many samples may be late before nobody measured.
const LATE_SAMPLES: u32 = 3;

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChartName {
    Throughput,
    Lag,
    OutboxAge,
    CriticalTime,
}

/// How it is drawn.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct ChartParams {
    /// How far back; an hour when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10_080)]
    minutes: Option<String>,
    /// In pixels: text keeps its size.
    #[param(value_type = Option<u32>, minimum = 240, maximum = 2_000)]
    width: Option<String>,
    /// How far the clock of whoever looks is ahead of UTC.
    #[param(value_type = Option<i32>, minimum = -840, maximum = 840)]
    utc_offset_minutes: Option<String>,
}

/// A chart as SVG: `throughput.svg`, `lag.svg`, `outbox-age.svg` or `critical-time.svg`. In a page its colours are the CSS
/// custom properties `--chart-1` to `--chart-3`, `--soft` and `--line`; what was not known is a gap.
#[utoipa::path(
    get,
    path = "/v1/admin/charts/{chart}",
    tag = "admin",
    params(("chart" = String, Path, example = "throughput.svg"), ChartParams),
    responses(
        (status = 200, description = "The chart", body = String, content_type = "image/svg+xml"),
        CallerProblems,
        NotFoundProblem,
        ParameterProblems
    )
)]
pub(crate) async fn get(
    caller: Caller,
    State(api): State<ApiState>,
    PathId(name): PathId<ChartName>,
    QueryParams(params): QueryParams<ChartParams>,
) -> Result<impl IntoResponse, Problem> {
    require_staff(&caller)?;
    let minutes = within("minutes", params.minutes.as_deref(), DEFAULT_MINUTES, (1, MAX_MINUTES))?;
    let width_px = within("width", params.width.as_deref(), DEFAULT_WIDTH_PX, (MIN_WIDTH_PX, MAX_WIDTH_PX))?;
    let furthest = (-MAX_UTC_OFFSET_MINUTES, MAX_UTC_OFFSET_MINUTES);
    let utc_offset_minutes = within("utcOffsetMinutes", params.utc_offset_minutes.as_deref(), 0, furthest)?;
    let past = history::past(&api.queries, minutes, api.config.history_interval).await.map_err(database_away)?;
    let until = api.ledger.now();
    let chart = Chart {
        title: name.title().to_owned(),
        from_ms: shown_from(&past, until, minutes).timestamp_millis(),
        until_ms: until.timestamp_millis(),
        utc_offset_minutes,
        series: name.series(&past),
    };
    let svg = chart::draw(&chart, width_px).map_err(Problem::internal)?;
    Ok(([(CONTENT_TYPE, "image/svg+xml"), (CACHE_CONTROL, "no-store")], svg))
}

/// A ledger that is younger than the time asked for shows what there is, and not mostly nothing.
fn shown_from(past: &Past, until: DateTime<Utc>, minutes: u32) -> DateTime<Utc> {
    let asked = until - TimeDelta::minutes(i64::from(minutes));
    let first = past.samples.first().map_or(asked, |sample| sample.sampled_at);
    asked.max(first.min(until - TimeDelta::minutes(MIN_SHOWN_MINUTES)))
}

fn within<T>(field: &str, text: Option<&str>, default: T, (least, most): (T, T)) -> Result<T, Problem>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let value = parse_param(field, text)?.unwrap_or(default);
    if value >= least && value <= most {
        Ok(value)
    } else {
        Err(Problem::invalid_value(field, format!("must be between {least} and {most}")))
    }
}

impl ChartName {
    fn title(self) -> &'static str {
        match self {
            Self::Throughput => "Orders, events and messages a second",
            Self::Lag => "Messages in outbox and broker, events not shown",
            Self::OutboxAge => "Age of the oldest unsent message, in seconds",
            Self::CriticalTime => "From command to visible, p99 in milliseconds",
        }
    }

    fn series(self, past: &Past) -> Vec<Series> {
        let series = |name, value: fn(&Sample) -> Option<f64>| Series { name, points: points(past, value) };
        match self {
            Self::Throughput => vec![
                series("orders", |sample| sample.orders_per_second),
                series("events", |sample| sample.events_per_second),
                series("messages sent", |sample| sample.sent_per_second),
            ],
            Self::Lag => vec![
                series("outbox", |sample| Some(sample.outbox_pending as f64)),
                series("broker", |sample| sample.consumer_lag_messages.map(|messages| messages as f64)),
                series("read models", |sample| sample.projection_lag_events.map(|events| events as f64)),
            ],
            Self::OutboxAge => vec![series("oldest unsent", |sample| Some(sample.outbox_age_seconds))],
            Self::CriticalTime => vec![series("p99", |sample| sample.critical_time_p99_ms)],
        }
    }
}

/// Where nobody measured for a while, a point that is not known keeps the line from bridging it.
fn points(past: &Past, value: fn(&Sample) -> Option<f64>) -> Vec<(i64, Option<f64>)> {
    let longest: Duration = past.every * LATE_SAMPLES;
    let mut points: Vec<(i64, Option<f64>)> = Vec::with_capacity(past.samples.len());
    for sample in &past.samples {
        let at_ms = sample.sampled_at.timestamp_millis();
        let gap = points.last().filter(|(before_ms, _)| u128::from(at_ms.abs_diff(*before_ms)) > longest.as_millis());
        if let Some((before_ms, _)) = gap {
            points.push((before_ms + 1, None));
        }
        points.push((at_ms, value(sample)));
    }
    points
}

impl PathSegment for ChartName {
    fn read(segment: &str) -> Result<Self, Problem> {
        match segment {
            "throughput.svg" => Ok(Self::Throughput),
            "lag.svg" => Ok(Self::Lag),
            "outbox-age.svg" => Ok(Self::OutboxAge),
            "critical-time.svg" => Ok(Self::CriticalTime),
            _ => Err(Problem::not_found("chart_not_found", "there is no such chart")),
        }
    }
}
