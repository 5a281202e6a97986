//! Listening, as caches do: everybody hears everything, and nothing waits.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use messaging::listen::{ListenConfig, listen};
use messaging::{Broker, Effect, HandleError, Handler, InMemoryBroker, OutgoingMessage, ReceivedMessage, Topic};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[tokio::test]
async fn every_listener_hears_every_message() {
    let street = Street::new().await;
    let (one, other) = (street.listener(), street.listener());
    street.until_all_hear(&[&one, &other]).await;
    street.send(sync(7)).await;
    for listener in [&one, &other] {
        listener.until_heard(7).await;
    }
}

#[tokio::test]
async fn what_cannot_be_read_or_handled_does_not_stop_a_listener() {
    let street = Street::new().await;
    let listener = street.listener();
    street.until_all_hear(&[&listener]).await;
    street.send("nonsense".to_owned()).await;
    street.send(sync(REFUSED)).await;
    street.send(sync(8)).await;
    listener.until_heard(8).await;
}

#[tokio::test]
async fn a_listener_is_back_after_an_outage() {
    let street = Street::new().await;
    let listener = street.listener();
    street.until_all_hear(&[&listener]).await;
    street.broker.set_down(true);
    // A poll that waits notices at once.
    tokio::time::sleep(Duration::from_millis(50)).await;
    street.broker.set_down(false);
    street.until_all_hear(&[&listener]).await;
    street.send(sync(9)).await;
    listener.until_heard(9).await;
}

#[tokio::test]
async fn a_listener_stops_when_it_is_told_to() {
    let street = Street::new().await;
    let listener = street.listener();
    listener.shutdown.cancel();
    listener.until_stopped().await;
}

/// A version that the handler does not take.
const REFUSED: u64 = 666;

struct Street {
    broker: InMemoryBroker,
}

struct Listener {
    heard: Arc<Mutex<Vec<u64>>>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Street {
    async fn new() -> Self {
        let broker = InMemoryBroker::default();
        broker.create_topics(&[Topic::StockSync.name()], 8).await.unwrap();
        Self { broker }
    }

    fn listener(&self) -> Listener {
        let heard = Arc::new(Mutex::default());
        let shutdown = CancellationToken::new();
        let handler = Arc::new(Ear(heard.clone()));
        let config = ListenConfig { reconnect_wait_ms: 10, poll_wait_ms: 50, ..ListenConfig::default() };
        let running = tokio::spawn(listen(Arc::new(self.broker.clone()), handler, config, shutdown.clone()));
        Listener { heard, shutdown, running }
    }

    async fn send(&self, body: String) {
        let message = OutgoingMessage {
            message_id: Uuid::now_v7(),
            business_id: "2001".to_owned(),
            event_type: "STOCK_SYNC".to_owned(),
            ordering_key: "2001".to_owned(),
            body,
            properties: Vec::new(),
        };
        let producer = self.broker.producer().await.unwrap();
        producer.send(Topic::StockSync.name(), 3, &[message]).await.unwrap();
    }

    /// Sends until everybody has heard something new: who has just begun to listen hears only what comes then.
    async fn until_all_hear(&self, listeners: &[&Listener]) {
        for listener in listeners {
            let before = listener.heard.lock().unwrap().len();
            listener.until(|heard| heard.len() > before, || self.send(sync(1))).await;
        }
    }
}

impl Listener {
    async fn until_stopped(mut self) {
        tokio::time::timeout(Duration::from_secs(10), &mut self.running).await.expect("it stops").unwrap();
    }

    async fn until_heard(&self, version: u64) {
        self.until(|heard| heard.contains(&version), async || ()).await;
    }

    async fn until(&self, condition: impl Fn(&[u64]) -> bool, meanwhile: impl AsyncFn()) {
        let give_up_at = Instant::now() + Duration::from_secs(20);
        while !condition(&self.heard.lock().unwrap().clone()) {
            assert!(Instant::now() < give_up_at, "heard only {:?}", self.heard.lock().unwrap());
            meanwhile().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

struct Ear(Arc<Mutex<Vec<u64>>>);

#[async_trait]
impl Handler for Ear {
    fn name(&self) -> &'static str {
        "ear"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::StockSync]
    }

    async fn handle(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        let hear = |message: &ReceivedMessage| {
            let version = message.decode::<messaging::message::StockSync>()?.stream_version;
            if version == REFUSED {
                return Err(HandleError::Failed("refused".to_owned()));
            }
            self.0.lock().unwrap().push(version);
            Ok(Effect::Applied)
        };
        batch.iter().map(hear).collect()
    }
}

fn sync(version: u64) -> String {
    format!(
        r#"{{"messageId":"{}","timestamp":0,"eventType":"STOCK_SYNC","source":"show-service","version":"1.0","data":{{
            "ticketTypeId":2001,"showId":1001,"capacity":10,"available":10,"locked":0,"sold":0,
            "streamVersion":{version},"syncTime":0}}}}"#,
        Uuid::now_v7()
    )
}
