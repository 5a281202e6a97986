//! Hearing what every process must hear for itself. Nothing is acknowledged and nothing waits: what is missed while the
//! broker is away is missed, so it is for news that are replaced by the next ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::broker::{Broker, BrokerError, Consumer};
use crate::handler::{DEFAULT_CONSUMER_GROUP, Handler, consumer_group};
use crate::received::ReceivedMessage;

/// Bounds and waits of a listener, each with its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// What the listeners' name begins with, as the broker shows it (`ticket-consumer-group`).
    pub consumer_group: String,
    /// Most messages given to the handler at once (1,000).
    pub max_batch_messages: usize,
    /// Longest wait for messages before the shutdown is looked at (1,000 ms).
    pub poll_wait_ms: u64,
    /// Wait before trying again when the broker failed (500 ms).
    pub reconnect_wait_ms: u64,
    /// How often an idle listener asks whether the broker still answers (1,000 ms).
    pub reachable_check_every_ms: u64,
}

impl Default for ListenConfig {
    fn default() -> Self {
        ListenConfig {
            consumer_group: DEFAULT_CONSUMER_GROUP.into(),
            max_batch_messages: 1_000,
            poll_wait_ms: 1_000,
            reconnect_wait_ms: 500,
            reachable_check_every_ms: 1_000,
        }
    }
}

/// Gives the handler everything that is sent on its topics, from now on and until shutdown, whatever fails.
pub async fn listen(
    broker: Arc<dyn Broker>,
    handler: Arc<dyn Handler>,
    config: ListenConfig,
    shutdown: CancellationToken,
) {
    let mut failing = false;
    while !shutdown.is_cancelled() {
        let lost = tokio::select! {
            () = shutdown.cancelled() => return,
            lost = hear(&*broker, &*handler, &config, &mut failing) => lost,
        };
        if !failing {
            warn!(listener = handler.name(), error = %lost, "listening failed, trying again");
        }
        failing = true;
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(config.reconnect_wait_ms)) => {}
        }
    }
}

/// Hears until the broker is lost, and says why.
async fn hear(broker: &dyn Broker, handler: &dyn Handler, config: &ListenConfig, failing: &mut bool) -> BrokerError {
    // A client may say that all is well while nobody answers, so the broker is asked first.
    if !broker.is_reachable().await {
        return BrokerError::Unavailable("not reachable".into());
    }
    let name = consumer_group(&config.consumer_group, &format!("{}-listener", handler.name()));
    let topics: Vec<&str> = handler.topics().iter().map(|topic| topic.name()).collect();
    let mut listener = match broker.listener(&name, &topics).await {
        Ok(listener) => listener,
        Err(problem) => return problem,
    };
    if std::mem::take(failing) {
        info!(listener = handler.name(), "listening again");
    }
    let lost = hear_from(&mut *listener, broker, handler, config).await;
    listener.close().await;
    lost
}

async fn hear_from(
    listener: &mut dyn Consumer,
    broker: &dyn Broker,
    handler: &dyn Handler,
    config: &ListenConfig,
) -> BrokerError {
    let check_every = Duration::from_millis(config.reachable_check_every_ms);
    let mut checked_at = Instant::now();
    loop {
        let polled = listener.poll(config.max_batch_messages, Duration::from_millis(config.poll_wait_ms)).await;
        let deliveries = match polled {
            Ok(deliveries) => deliveries,
            Err(problem) => return problem,
        };
        if deliveries.is_empty() && checked_at.elapsed() >= check_every {
            checked_at = Instant::now();
            if !broker.is_reachable().await {
                return BrokerError::Unavailable("not reachable".into());
            }
        }
        let messages: Vec<ReceivedMessage> = deliveries
            .iter()
            .filter(|delivery| !delivery.is_for_another(handler.name()))
            .flat_map(ReceivedMessage::parse)
            .collect();
        if messages.is_empty() {
            continue;
        }
        // The same message went to a consumer that makes a dead letter of it, if it is one.
        for problem in handler.handle(&messages).await.into_iter().filter_map(Result::err) {
            debug!(listener = handler.name(), %problem, "a message was not heard");
        }
    }
}
