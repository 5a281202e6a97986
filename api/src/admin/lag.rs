//! How far everything is behind the ledger. What is not known is null, never 0.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use futures_util::future::join_all;
use messaging::Topic;
use outbox_relay::lag::OutboxLag;
use serde::Serialize;
use utoipa::ToSchema;

use super::projections::{ProjectionBody, bodies};
use super::require_staff;
use crate::auth::Caller;
use crate::openapi::CallerProblems;
use crate::problem::Problem;
use crate::refusals::database_away;
use crate::state::ApiState;

/// How far everything is behind.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Lag)]
pub(crate) struct LagBody {
    /// The ledger's last position.
    head: i64,
    outbox: OutboxBody,
    relay: RelayBody,
    consumers: Vec<ConsumerLagBody>,
    projections: Vec<ProjectionBody>,
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
}

/// A consumer group's part of a topic.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ConsumerLag)]
pub(crate) struct ConsumerLagBody {
    #[schema(example = "ticket-consumer-group-stock")]
    group: String,
    #[schema(example = "stock-lock")]
    topic: &'static str,
    /// Messages the group has not committed; null when the broker can't say.
    lag_messages: Option<i64>,
}

/// The broker may be away: then its part is unknown, and the rest is answered all the same.
const BROKER_TIMEOUT: Duration = Duration::from_secs(2);

/// How far the outbox, the relay, the consumers and the projections are.
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

pub(crate) async fn measure(api: &ApiState) -> Result<LagBody, Problem> {
    let (outbox, projections, consumers) =
        tokio::join!(outbox_relay::lag::measure(&api.queries), bodies(&api.queries), consumer_lags(api));
    let outbox = outbox.map_err(database_away)?;
    Ok(LagBody {
        head: outbox.head,
        relay: RelayBody { lease_owner: outbox.lease_owner.clone(), circuit: outbox.circuit.map(|c| c.as_str()) },
        outbox: outbox.into(),
        consumers,
        projections: projections?,
    })
}

async fn consumer_lags(api: &ApiState) -> Vec<ConsumerLagBody> {
    let pairs =
        api.consumers.iter().flat_map(|consumer| consumer.topics.iter().map(move |topic| (&consumer.group, *topic)));
    join_all(pairs.map(|(group, topic)| consumer_lag(api, group, topic))).await
}

async fn consumer_lag(api: &ApiState, group: &str, topic: Topic) -> ConsumerLagBody {
    let lag_messages = match &api.broker {
        Some(broker) => {
            let asked = tokio::time::timeout(BROKER_TIMEOUT, broker.lag(group, topic.name())).await;
            asked.ok().and_then(Result::ok).flatten()
        }
        None => None,
    };
    ConsumerLagBody { group: group.to_owned(), topic: topic.name(), lag_messages }
}

impl From<OutboxLag> for OutboxBody {
    fn from(lag: OutboxLag) -> Self {
        let topics = lag
            .topics
            .iter()
            .map(|topic| TopicLagBody { topic: topic.topic, pending_messages: topic.pending_messages });
        Self {
            pending_messages: lag.pending_messages,
            oldest_unsent_age_seconds: lag.oldest_unsent_age_ms.map(|age_ms| age_ms as f64 / 1_000.0),
            parked_messages: lag.parked_messages,
            topics: topics.collect(),
        }
    }
}
