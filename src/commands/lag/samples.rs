//! A report for tests: something of everything.

use chrono::DateTime;
use messaging::Topic;
use outbox_relay::CircuitState;
use outbox_relay::lag::{LaneLag, OutboxLag, TopicLag};
use projections::ProjectionLag;
use projections::critical_time::CriticalTime;
use uuid::Uuid;
use watch::LagReport;
use watch::lag::ConsumerReport;
use watch::missing::{Missing, MissingMessage};

pub fn report() -> LagReport {
    LagReport {
        measured_at: chrono::DateTime::UNIX_EPOCH,
        outbox: outbox(),
        consumers: vec![
            consumer("order", Topic::OrderCreate, Some((12, 3_400)), true),
            consumer("stock", Topic::StockLock, None, false),
        ],
        projections: vec![projection("orders", 40, Some(1.5)), projection("stock", 0, Some(0.0))],
        rebuilds: Vec::new(),
        order_visible: CriticalTime { orders: 9, p50_ms: Some(40.0), p95_ms: Some(80.0), p99_ms: Some(160.0) },
        order_confirmed: CriticalTime::default(),
        missing: Missing {
            checked_position: 90,
            checked_at: DateTime::from_timestamp(1_795_000_000, 0),
            messages: Some(1),
            found: vec![MissingMessage {
                group: "ticket-consumer-group-order".to_owned(),
                topic: "order-create".to_owned(),
                message_id: Uuid::nil(),
                position: 17,
            }],
        },
        verification: None,
    }
}

fn outbox() -> OutboxLag {
    let lanes =
        vec![LaneLag { lane: 3, queue: 3, sent_position: 80, pending_messages: 7, oldest_unsent_age_ms: Some(2_000) }];
    let topic = TopicLag { topic: "order-create", pending_messages: 7, oldest_unsent_age_ms: Some(2_000), lanes };
    OutboxLag {
        head: 100,
        pending_messages: 7,
        oldest_unsent_age_ms: Some(2_000),
        parked_messages: 1,
        lease_owner: Some("relay-1".to_owned()),
        circuit: Some(CircuitState::Closed),
        sent_per_second: Some(12.5),
        in_flight_messages: Some(4),
        topics: vec![topic],
    }
}

fn consumer(name: &'static str, topic: Topic, lag: Option<(i64, i64)>, is_up: bool) -> ConsumerReport {
    ConsumerReport {
        consumer: name,
        group: format!("ticket-consumer-group-{name}"),
        topic,
        lag_messages: lag.map(|(messages, _)| messages),
        lag_ms: lag.map(|(_, lag_ms)| lag_ms),
        is_up,
        applied_per_second: 3.0,
        dead_letters: 0,
    }
}

fn projection(name: &str, behind: i64, lag_seconds: Option<f64>) -> ProjectionLag {
    ProjectionLag {
        name: name.to_owned(),
        active_version: 1,
        code_version: 1,
        previous_version: None,
        position: 100 - behind,
        head: 100,
        lag_seconds,
    }
}
