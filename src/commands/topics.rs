//! `order-ledger topics`: creates what is missing, 8 read and 8 write queues each.

use std::time::{Duration, Instant};

use anyhow::Context;
use messaging::{QUEUES_PER_TOPIC, Topic};

use super::{broker, runtime};
use crate::config::Config;
use crate::exit::Outcome;

/// A broker that has just started registers with its name server within seconds.
const BROKER_TIMEOUT: Duration = Duration::from_secs(30);
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

pub fn run(config: Config, json: bool) -> Outcome {
    runtime()?.block_on(create(&config))?;
    let names: Vec<&str> = Topic::ALL.iter().map(|topic| topic.name()).collect();
    match json {
        true => println!("{}", serde_json::json!({ "topics": names, "queues": QUEUES_PER_TOPIC })),
        false => names.iter().for_each(|name| println!("{name}  {QUEUES_PER_TOPIC}/{QUEUES_PER_TOPIC} queues")),
    }
    Ok(())
}

pub async fn create(config: &Config) -> anyhow::Result<()> {
    let broker = broker(config)?;
    let names: Vec<&str> = Topic::ALL.iter().map(|topic| topic.name()).collect();
    let since = Instant::now();
    let created = loop {
        match broker.create_topics(&names, QUEUES_PER_TOPIC).await {
            Err(messaging::BrokerError::Unavailable(_)) if since.elapsed() < BROKER_TIMEOUT => {
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            created => break created,
        }
    };
    broker.close().await;
    created.context("the topics could not be created")
}
