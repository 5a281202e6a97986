//! Replays of a ledger whose messages were sent.

use std::sync::Arc;

use messaging::{Broker, Topic};
use outbox_relay::RelayConfig;
use outbox_relay::replay::{
    self, Plan, Progress, Replay, ReplayConfig, ReplayError, ReplayParts, ReplayRequest, Target,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::broker::RecordingBroker;
use super::{Ledger, Message, drain};

pub const TOPIC: Topic = Topic::OrderStatusUpdate;

/// A ledger whose messages were sent, each to its queue.
pub async fn sent(messages: &[Message]) -> (Ledger, RecordingBroker, i64) {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let head = ledger.append(messages).await;
    let mut relay = ledger.relay(&broker, RelayConfig::default(), "relay-1");
    drain(&ledger, &mut relay).await;
    (ledger, broker, head)
}

pub fn request(after: i64, upto: i64) -> ReplayRequest {
    ReplayRequest { topic: TOPIC, target: Target::Everybody, stream_id: None, key: None, after, upto }
}

pub fn parts(ledger: &Ledger, broker: &RecordingBroker) -> ReplayParts {
    let config = ReplayConfig { max_batch_messages: 5, ..ReplayConfig::default() };
    ReplayParts { pool: ledger.pool.clone(), broker: Arc::new(broker.clone()) as Arc<dyn Broker>, config }
}

pub async fn plan(ledger: &Ledger, request: &ReplayRequest) -> Plan {
    replay::plan(&mut ledger.pool.acquire().await.unwrap(), request).await.unwrap()
}

pub async fn begin(ledger: &Ledger, broker: &RecordingBroker, request: ReplayRequest) -> Result<Replay, ReplayError> {
    let plan = plan(ledger, &request).await;
    Replay::begin(parts(ledger, broker), (request, &plan), None, "user:1", async |_, _| Ok(())).await
}

pub async fn run(replay: Replay) -> Result<Progress, ReplayError> {
    replay.run(&CancellationToken::new(), |_| {}).await
}

pub fn is_copy(message: &messaging::OutgoingMessage) -> bool {
    message.properties.iter().any(|(name, value)| *name == "replay" && value == "true")
}

pub fn copied(broker: &RecordingBroker) -> Vec<Uuid> {
    broker.everything().iter().filter(|message| is_copy(message)).map(|message| message.message_id).collect()
}
