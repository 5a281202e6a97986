//! The producer's settings, as they show in what happens: on the broker, and while it does not answer.

use std::time::{Duration, Instant};

use messaging::{Broker, SendError};
use rocketmq::{RocketMqBroker, RocketMqConfig};

use crate::embedded::{EmbeddedProcess, shared};
use crate::scenario::{message, producers_of, topic, unique};

#[tokio::test]
async fn the_broker_sees_the_producers_under_their_groups_name() {
    let group = unique("shop-producers");
    let config = RocketMqConfig {
        name_server: shared().name_server(),
        producer_group: group.clone(),
        ..RocketMqConfig::default()
    };
    let broker = RocketMqBroker::connect(config).unwrap();
    let topic = topic(&broker, "group").await;
    let producer = broker.producer().await.unwrap();
    producer.send(&topic, 0, &[message("x")]).await.unwrap();

    assert_eq!(producers_of(&shared().name_server(), &group, &topic).await, 1);
    assert_eq!(producers_of(&shared().name_server(), "ticket-producer-group", &topic).await, 0);
}

#[tokio::test]
async fn a_send_to_a_broker_that_hangs_fails_after_its_time_out() {
    for send_message_timeout_ms in [300, 2_000] {
        let hung = Hung::with(RocketMqConfig {
            send_message_timeout_ms,
            retry_times_when_send_failed: 0,
            ..RocketMqConfig::default()
        });
        let took = hung.await.send().await;

        let timeout = Duration::from_millis(send_message_timeout_ms);
        assert!(took >= timeout && took < timeout + Duration::from_millis(1_600), "{timeout:?}: {took:?}");
    }
}

#[tokio::test]
async fn a_send_that_fails_is_tried_again_as_often_as_configured() {
    let pause_ms = 1_500;
    let mut took = Vec::new();
    for retry_times_when_send_failed in [0, 3] {
        let hung = Hung::with(RocketMqConfig {
            send_message_timeout_ms: 300,
            request_timeout_ms: 300,
            reconnect_pause_ms: pause_ms,
            retry_times_when_send_failed,
            ..RocketMqConfig::default()
        });
        took.push(hung.await.send().await);
    }
    // Without further attempts there is no pause; each further one comes after its own.
    assert!(took[0] < Duration::from_millis(300 + pause_ms), "{took:?}");
    assert!(took[1] >= Duration::from_millis(300 + 3 * pause_ms), "{took:?}");
}

/// A broker that takes connections and answers nothing any more, and a producer that has sent to it before.
struct Hung {
    process: EmbeddedProcess,
    topic: String,
    producer: Box<dyn messaging::Producer>,
    _broker: RocketMqBroker,
}

impl Hung {
    async fn with(config: RocketMqConfig) -> Self {
        let process = EmbeddedProcess::start();
        let broker = RocketMqBroker::connect(RocketMqConfig { name_server: process.name_server(), ..config }).unwrap();
        let topic = topic(&broker, "hung").await;
        let producer = broker.producer().await.unwrap();
        crate::scenario::eventually("send", async || producer.send(&topic, 0, &[message("before")]).await).await;
        process.freeze();
        Self { process, topic, producer, _broker: broker }
    }

    /// How long a send takes to fail.
    async fn send(self) -> Duration {
        let started = Instant::now();
        let sent = self.producer.send(&self.topic, 0, &[message("x")]).await;
        let took = started.elapsed();
        self.process.thaw();
        assert!(matches!(sent, Err(SendError::Unavailable(_))), "{sent:?}");
        took
    }
}
