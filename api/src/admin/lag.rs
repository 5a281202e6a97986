//! How far everything is behind the ledger. What is not known is null, never 0.

use ::projections::critical_time::CriticalTime;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use watch::LagReport;

use super::projections::{self, ProjectionBody};
use super::require_staff;
use crate::auth::Caller;
use crate::openapi::CallerProblems;
use crate::problem::Problem;
use crate::refusals::unavailable;
use crate::state::ApiState;

/// How far everything is behind.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Lag)]
pub struct LagBody {
    /// The ledger's last position.
    head: i64,
    outbox: OutboxBody,
    relay: RelayBody,
    consumers: Vec<ConsumerLagBody>,
    projections: Vec<ProjectionBody>,
    critical_time: CriticalTimeBody,
    missing: MissingBody,
    /// The last check of the invariants; null before the first.
    verification: Option<VerificationBody>,
}

/// Messages not yet confirmed by the broker.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OutboxLag)]
pub(crate) struct OutboxBody {
    pending_messages: i64,
    /// Null when there is none.
    oldest_unsent_age_seconds: Option<f64>,
    /// Messages that can't be sent, and those behind them.
    parked_messages: i64,
    topics: Vec<TopicLagBody>,
}

/// One topic's part of the outbox.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TopicLag)]
pub(crate) struct TopicLagBody {
    #[schema(example = "order-create")]
    topic: &'static str,
    pending_messages: i64,
    oldest_unsent_age_seconds: Option<f64>,
    lanes: Vec<LaneLagBody>,
}

/// One queue's part of a topic.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = LaneLag)]
pub(crate) struct LaneLagBody {
    lane: i16,
    queue: u16,
    /// Position of the last message the broker confirmed.
    sent_position: i64,
    pending_messages: i64,
    oldest_unsent_age_seconds: Option<f64>,
}

/// Who sends.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Relay)]
pub(crate) struct RelayBody {
    /// Null when no relay is active.
    lease_owner: Option<String>,
    /// What the relay last said of the broker: `closed`, `half_open` or `open`.
    #[schema(example = "closed")]
    circuit: Option<&'static str>,
    /// Messages the broker confirmed; null when the relay has been silent.
    sent_per_second: Option<f64>,
    /// Messages the broker has not confirmed yet; null likewise.
    in_flight_messages: Option<i64>,
}

/// A consumer group's part of a topic.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ConsumerLag)]
pub(crate) struct ConsumerLagBody {
    /// What its dead letters are found by.
    #[schema(example = "stock")]
    consumer: &'static str,
    #[schema(example = "ticket-consumer-group-stock")]
    group: String,
    #[schema(example = "stock-lock")]
    topic: &'static str,
    /// Messages the group has not committed, with or without a live member; null when the broker can't say.
    lag_messages: Option<i64>,
    /// The age of the oldest of them; null when it is not known.
    lag_seconds: Option<f64>,
    /// Whether a member lives and reaches the broker.
    up: Option<bool>,
    applied_per_second: Option<f64>,
    /// Dead letters and the messages behind them.
    dead_letters: i64,
}

/// From an order's command to its effect in the read model, over the last five minutes.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CriticalTime)]
pub(crate) struct CriticalTimeBody {
    /// Placed and visible. Null without an order.
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
    orders: i64,
    /// Placed, confirmed, and visible as such: the buyer's time to pay is part of it.
    confirmed: PercentilesBody,
}

/// How long some orders took.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Percentiles)]
pub(crate) struct PercentilesBody {
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
    orders: i64,
}

/// Messages that were sent and passed by a group without a trace.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Missing)]
pub(crate) struct MissingBody {
    /// Everything up to here was counted, for every group.
    checked_position: i64,
    checked_at: Option<DateTime<Utc>>,
    /// Null before the first count.
    messages: Option<i64>,
    /// The first of them.
    found: Vec<MissingMessageBody>,
}

/// A message that is missing.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MissingMessage)]
pub(crate) struct MissingMessageBody {
    group: String,
    topic: String,
    #[schema(value_type = String, format = "uuid")]
    message_id: Uuid,
    /// Position of the event that caused it.
    position: i64,
}

/// A check of the invariants.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Verification)]
pub(crate) struct VerificationBody {
    checked_at: DateTime<Utc>,
    /// `verify`: all of it. `watch`: what is cheap.
    #[schema(example = "watch")]
    made_by: String,
    invariants: Vec<String>,
    /// The ledger's last position when it began.
    position: i64,
    violations: i64,
}

/// How far the outbox, the relay, the consumers and the projections are. One measurement a second serves all who ask.
#[utoipa::path(
    get,
    path = "/v1/admin/lag",
    tag = "admin",
    responses((status = 200, description = "The lag of everything", body = LagBody), CallerProblems)
)]
pub(crate) async fn get(caller: Caller, State(api): State<ApiState>) -> Result<Json<LagBody>, Problem> {
    require_staff(&caller)?;
    Ok(Json(measure(&api).await?))
}

/// One measurement serves everybody who asks within a second.
pub(crate) async fn measure(api: &ApiState) -> Result<LagBody, Problem> {
    let report = api.lag.current().await.map_err(unavailable)?;
    Ok(LagBody::from(&*report))
}

impl From<&LagReport> for LagBody {
    fn from(report: &LagReport) -> Self {
        let outbox = &report.outbox;
        Self {
            head: outbox.head,
            relay: RelayBody {
                lease_owner: outbox.lease_owner.clone(),
                circuit: outbox.circuit.map(|circuit| circuit.as_str()),
                sent_per_second: outbox.sent_per_second,
                in_flight_messages: outbox.in_flight_messages,
            },
            outbox: OutboxBody::from(outbox),
            consumers: report.consumers.iter().map(ConsumerLagBody::from).collect(),
            projections: projections::join(report.projections.clone(), report.rebuilds.clone()),
            critical_time: CriticalTimeBody::from(report),
            missing: MissingBody::from(&report.missing),
            verification: report.verification.clone().map(VerificationBody::from),
        }
    }
}

impl From<&outbox_relay::lag::OutboxLag> for OutboxBody {
    fn from(lag: &outbox_relay::lag::OutboxLag) -> Self {
        Self {
            pending_messages: lag.pending_messages,
            oldest_unsent_age_seconds: lag.oldest_unsent_age_ms.map(seconds),
            parked_messages: lag.parked_messages,
            topics: lag.topics.iter().map(TopicLagBody::from).collect(),
        }
    }
}

impl From<&outbox_relay::lag::TopicLag> for TopicLagBody {
    fn from(lag: &outbox_relay::lag::TopicLag) -> Self {
        let lanes = lag.lanes.iter().map(|lane| LaneLagBody {
            lane: lane.lane,
            queue: lane.queue,
            sent_position: lane.sent_position,
            pending_messages: lane.pending_messages,
            oldest_unsent_age_seconds: lane.oldest_unsent_age_ms.map(seconds),
        });
        Self {
            topic: lag.topic,
            pending_messages: lag.pending_messages,
            oldest_unsent_age_seconds: lag.oldest_unsent_age_ms.map(seconds),
            lanes: lanes.collect(),
        }
    }
}

impl From<&watch::lag::ConsumerReport> for ConsumerLagBody {
    fn from(report: &watch::lag::ConsumerReport) -> Self {
        Self {
            consumer: report.consumer,
            group: report.group.clone(),
            topic: report.topic.name(),
            lag_messages: report.lag_messages,
            lag_seconds: report.lag_ms.map(seconds),
            up: Some(report.is_up),
            applied_per_second: Some(report.applied_per_second),
            dead_letters: report.dead_letters,
        }
    }
}

impl From<&LagReport> for CriticalTimeBody {
    fn from(report: &LagReport) -> Self {
        let CriticalTime { orders, p50_ms, p95_ms, p99_ms } = report.order_visible;
        Self { p50_ms, p95_ms, p99_ms, orders, confirmed: PercentilesBody::from(report.order_confirmed) }
    }
}

impl From<CriticalTime> for PercentilesBody {
    fn from(time: CriticalTime) -> Self {
        let CriticalTime { orders, p50_ms, p95_ms, p99_ms } = time;
        Self { p50_ms, p95_ms, p99_ms, orders }
    }
}

impl From<&watch::missing::Missing> for MissingBody {
    fn from(missing: &watch::missing::Missing) -> Self {
        let found = missing.found.iter().map(|message| MissingMessageBody {
            group: message.group.clone(),
            topic: message.topic.clone(),
            message_id: message.message_id,
            position: message.position,
        });
        Self {
            checked_position: missing.checked_position,
            checked_at: missing.checked_at,
            messages: missing.messages,
            found: found.collect(),
        }
    }
}

impl From<watch::verification::Verification> for VerificationBody {
    fn from(verification: watch::verification::Verification) -> Self {
        let watch::verification::Verification { checked_at, made_by, invariants, position, violations } = verification;
        Self { checked_at, made_by, invariants, position, violations }
    }
}

fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1_000.0
}
