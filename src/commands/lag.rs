//! `order-ledger lag`: how far the outbox, each consumer group and each projection are behind. What is not known is
//! shown as unknown, never as 0.

use std::sync::Arc;
use std::time::Duration;

use messaging::{Broker, consumer_group};
use serde::Serialize;
use sqlx::PgPool;

use super::{broker, pool, runtime};
use crate::cli::LagArgs;
use crate::config::Config;
use crate::exit::Outcome;
use crate::metrics::consumers_of;

const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// A broker that is down must not keep anyone from seeing the outbox grow.
const BROKER_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Lag {
    outbox: outbox_relay::lag::OutboxLag,
    consumers: Vec<ConsumerLag>,
    projections: Vec<ProjectionLag>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConsumerLag {
    group: String,
    topic: &'static str,
    lag_messages: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProjectionLag {
    name: String,
    position: i64,
    lag_events: i64,
    lag_seconds: Option<f64>,
}

pub fn run(config: Config, args: &LagArgs) -> Outcome {
    runtime()?.block_on(async {
        let pool = pool(&config).await?;
        let broker = broker(&config)?;
        loop {
            let lag = measure(&config, &pool, &broker).await?;
            match args.json {
                true => println!("{}", serde_json::to_string(&lag)?),
                false if args.watch => print!("\x1b[2J\x1b[H{}", table(&lag)),
                false => print!("{}", table(&lag)),
            }
            if !args.watch {
                break;
            }
            tokio::select! {
                _ = tokio::signal::ctrl_c() => break,
                () = tokio::time::sleep(WATCH_INTERVAL) => {}
            }
        }
        broker.close().await;
        anyhow::Ok(())
    })?;
    Ok(())
}

async fn measure(config: &Config, pool: &PgPool, broker: &Arc<dyn Broker>) -> anyhow::Result<Lag> {
    let outbox = outbox_relay::lag::measure(pool).await?;
    let projections = projections::lag(pool).await?;
    let projections = projections
        .into_iter()
        .map(|lag| ProjectionLag {
            lag_events: lag.lag_events(),
            position: lag.position,
            lag_seconds: lag.lag_seconds,
            name: lag.name,
        })
        .collect();
    Ok(Lag { outbox, consumers: consumers(config, broker).await, projections })
}

async fn consumers(config: &Config, broker: &Arc<dyn Broker>) -> Vec<ConsumerLag> {
    let one = |consumer: &'static str, topic: messaging::Topic| async move {
        let group = consumer_group(&config.rocketmq.consumer.group, consumer);
        let known = tokio::time::timeout(BROKER_TIMEOUT, broker.lag(&group, topic.name())).await;
        let lag_messages = known.ok().and_then(Result::ok).flatten();
        ConsumerLag { group, topic: topic.name(), lag_messages }
    };
    let all = consumers_of(config).flat_map(|(consumer, topics)| topics.iter().map(|topic| one(consumer, *topic)));
    futures_util::future::join_all(all).await
}

fn table(lag: &Lag) -> String {
    let or_unknown = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    let age = match lag.outbox.oldest_unsent_age_ms {
        Some(age_ms) => format!(", oldest {:.1} s", age_ms as f64 / 1_000.0),
        None => String::new(),
    };
    let mut table = format!(
        "outbox: {} pending{age}, {} parked; relay: {}\n\n{:<58} {:>14}\n",
        lag.outbox.pending_messages,
        lag.outbox.parked_messages,
        lag.outbox.lease_owner.as_deref().unwrap_or("none active"),
        "consumer group",
        "messages"
    );
    for consumer in &lag.consumers {
        let name = format!("{} {}", consumer.group, consumer.topic);
        let messages = or_unknown(consumer.lag_messages.map(|messages| messages.to_string()));
        table.push_str(&format!("{name:<58} {messages:>14}\n"));
    }
    table.push_str(&format!("\n{:<44} {:>14} {:>13}\n", "projection", "events", "seconds"));
    for projection in &lag.projections {
        let seconds = or_unknown(projection.lag_seconds.map(|seconds| format!("{seconds:.1}")));
        table.push_str(&format!("{:<44} {:>14} {seconds:>13}\n", projection.name, projection.lag_events));
    }
    table
}
