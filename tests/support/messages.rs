//! Messages sent past the outbox, as another producer would.

use std::collections::BTreeMap;
use std::time::Duration;

use messaging::{Broker, MessageData, OutgoingMessage, Topic, lane_of, lane_parts, outbox_message};
use rocketmq::{RocketMqBroker, RocketMqConfig};
use uuid::Uuid;

/// As the outbox would hold it.
pub fn outgoing<D: MessageData>(message_id: Uuid, data: &D) -> OutgoingMessage {
    let row = outbox_message(message_id, chrono::Utc::now(), data);
    OutgoingMessage {
        message_id,
        business_id: row.business_id,
        event_type: row.event_type,
        ordering_key: row.ordering_key,
        body: row.body,
        properties: Vec::new(),
    }
}

pub fn connect(name_server: &str) -> RocketMqBroker {
    RocketMqBroker::connect(RocketMqConfig { name_server: name_server.to_owned(), ..RocketMqConfig::default() })
        .unwrap()
}

/// To the queues that the relay would choose, in order.
pub async fn send_all(broker: &dyn Broker, messages: impl IntoIterator<Item = OutgoingMessage>) {
    let mut lanes: BTreeMap<(&str, u16), Vec<OutgoingMessage>> = BTreeMap::new();
    for message in messages {
        let topic = Topic::of_event_type(&message.event_type).unwrap();
        let (topic, queue) = lane_parts(lane_of(topic, &message.ordering_key)).unwrap();
        lanes.entry((topic.name(), queue)).or_default().push(message);
    }
    let producer = broker.producer().await.unwrap();
    for ((topic, queue), messages) in lanes {
        for batch in messages.chunks(250) {
            // A route may not be known right after the topic was made. A repeated batch is known by its messageIds.
            let mut tries = 0;
            while let Err(error) = producer.send(topic, queue, batch).await {
                tries += 1;
                assert!(tries < 50, "{error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    producer.close().await;
}
