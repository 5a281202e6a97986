//! How many messages a consumer works on at once: `consume_thread_min`, `consume_thread_max` and
//! `consume_message_batch_max_size` as they show in the calls of the handler.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use messaging::{
    Broker, ConsumerRuntime, Effect, HandleError, Handler, InMemoryBroker, QUEUES_PER_TOPIC, ReceivedMessage,
    RuntimeConfig, Topic, lane_of, lane_parts,
};
use support::{database, outgoing, quick};
use uuid::Uuid;

/// Counts the calls that are under way together, and the messages of each.
#[derive(Default)]
struct Counter {
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
    calls: Mutex<Vec<usize>>,
}

#[async_trait]
impl Handler for Counter {
    fn name(&self) -> &'static str {
        "counter"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::OrderCreate]
    }

    async fn handle(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_under_way.fetch_max(under_way, Ordering::SeqCst);
        self.calls.lock().unwrap().push(batch.len());
        // The others of the batch begin before this one ends.
        tokio::task::yield_now().await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        vec![Ok(Effect::Applied); batch.len()]
    }
}

/// Has so many messages, of one key each, worked on; gives what the handler saw.
async fn worked_on(messages: usize, config: RuntimeConfig) -> Arc<Counter> {
    let broker = InMemoryBroker::default();
    broker.create_topics(&[Topic::OrderCreate.name()], QUEUES_PER_TOPIC).await.unwrap();
    let producer = broker.producer().await.unwrap();
    for number in 0..messages {
        let message = outgoing(Uuid::now_v7(), &format!("{number:04}"), number as i64);
        let (topic, queue) = lane_parts(lane_of(Topic::OrderCreate, &message.ordering_key)).unwrap();
        producer.send(topic.name(), queue, &[message]).await.unwrap();
    }
    let counter = Arc::new(Counter::default());
    // All that is there comes in one batch, however slow the machine.
    let config = RuntimeConfig { gather_ms: 60_000, ..config };
    let mut runtime = ConsumerRuntime::new(Arc::new(broker), database().await, counter.clone(), config);
    let mut applied = 0;
    while applied < messages {
        applied += runtime.step().await.unwrap().applied;
    }
    counter
}

#[tokio::test]
async fn few_messages_have_the_fewest_workers_and_many_the_most() {
    let threads = RuntimeConfig { min_workers: 5, max_workers: 20, ..quick() };
    for (messages, workers) in [(3, 3), (5, 5), (30, 5), (80, 10), (400, 20)] {
        let counter = worked_on(messages, threads.clone()).await;
        assert_eq!(counter.most_under_way.load(Ordering::SeqCst), workers, "{messages} messages");
    }
}

#[tokio::test]
async fn with_one_thread_there_is_one_call_at_a_time() {
    let counter = worked_on(100, RuntimeConfig { min_workers: 1, max_workers: 1, ..quick() }).await;
    assert_eq!(counter.most_under_way.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_batch_is_never_larger_than_it_may_be() {
    for max_batch_messages in [1, 32] {
        let counter = worked_on(100, RuntimeConfig { max_batch_messages, ..quick() }).await;
        let calls = counter.calls.lock().unwrap().clone();
        assert_eq!(calls.iter().sum::<usize>(), 100);
        assert_eq!(calls.iter().max(), Some(&max_batch_messages), "{calls:?}");
    }
}
