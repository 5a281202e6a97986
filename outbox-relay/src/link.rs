//! The connection to the broker: one producer, replaced by a fresh one after every failure.
//!
//! A client that saw its broker go may stay silent long after the broker is back; a new one works at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use messaging::{Broker, BrokerError, Producer};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::RelayConfig;
use crate::circuit::{Backoff, CircuitState};

type Connected = Result<Box<dyn Producer>, BrokerError>;

enum State {
    Down { retry_at: Instant },
    Connecting(JoinHandle<Connected>),
    Up(Arc<dyn Producer>),
}

pub(crate) struct Link {
    broker: Arc<dyn Broker>,
    /// Called when a connection attempt has ended.
    wake: Arc<Notify>,
    connect_timeout: Duration,
    backoff: Backoff,
    state: State,
    circuit: CircuitState,
}

impl Link {
    pub(crate) fn new(broker: Arc<dyn Broker>, wake: Arc<Notify>, config: &RelayConfig) -> Link {
        Link {
            broker,
            wake,
            connect_timeout: Duration::from_millis(config.connect_timeout_ms),
            backoff: Backoff::new(config.backoff_min_ms, config.backoff_max_ms),
            state: State::Down { retry_at: Instant::now() },
            circuit: CircuitState::Closed,
        }
    }

    pub(crate) fn circuit(&self) -> CircuitState {
        self.circuit
    }

    /// The producer, if there is one; never waits. Works towards one if there is none.
    pub(crate) async fn producer(&mut self) -> Option<Arc<dyn Producer>> {
        match &mut self.state {
            State::Up(producer) => return Some(Arc::clone(producer)),
            State::Down { retry_at } if Instant::now() < *retry_at => {}
            State::Down { .. } => self.state = State::Connecting(self.connect()),
            State::Connecting(attempt) if attempt.is_finished() => {
                let connected = attempt.await;
                self.connected(connected.unwrap_or_else(|panic| Err(BrokerError::Unavailable(panic.to_string()))));
            }
            State::Connecting(_) => {}
        }
        match &self.state {
            State::Up(producer) => Some(Arc::clone(producer)),
            State::Down { .. } | State::Connecting(_) => None,
        }
    }

    /// The broker confirmed something.
    pub(crate) fn worked(&mut self) {
        self.backoff.reset();
        self.circuit = CircuitState::Closed;
    }

    /// The broker did not answer: the producer is given up.
    pub(crate) fn failed(&mut self, reason: &str) {
        if self.circuit == CircuitState::Closed {
            tracing::warn!(reason, "the broker does not take messages; trying again until it does");
        }
        self.circuit = CircuitState::Open;
        self.let_go();
        self.state = State::Down { retry_at: self.backoff.next_try() };
    }

    /// Creates a topic that the broker said it does not have; the next send tells whether it worked.
    pub(crate) fn create_topic(&self, topic: &'static str, queues: u16) {
        let broker = Arc::clone(&self.broker);
        let timeout = self.connect_timeout;
        tokio::spawn(async move {
            match tokio::time::timeout(timeout, broker.create_topics(&[topic], queues)).await {
                Ok(Ok(())) => tracing::info!(topic, "created the missing topic"),
                Ok(Err(error)) => tracing::warn!(topic, %error, "cannot create the missing topic"),
                Err(_) => tracing::warn!(topic, "no answer to the creation of the missing topic"),
            }
        });
    }

    pub(crate) async fn close(&mut self) {
        if let Some(closing) = self.let_go() {
            // It ended by itself or by its time-out.
            let _ = closing.await;
        }
    }

    fn connected(&mut self, connected: Connected) {
        match connected {
            Ok(producer) => {
                if self.circuit == CircuitState::Open {
                    tracing::info!("the broker can be reached again");
                    self.circuit = CircuitState::HalfOpen;
                }
                self.state = State::Up(Arc::from(producer));
            }
            Err(error) => self.failed(&error.to_string()),
        }
    }

    fn connect(&self) -> JoinHandle<Connected> {
        let (broker, wake, timeout) = (Arc::clone(&self.broker), Arc::clone(&self.wake), self.connect_timeout);
        tokio::spawn(async move {
            let attempt = async {
                if broker.is_reachable().await {
                    broker.producer().await
                } else {
                    Err(BrokerError::Unavailable("not reachable".to_owned()))
                }
            };
            let connected = tokio::time::timeout(timeout, attempt).await;
            wake.notify_one();
            connected.unwrap_or_else(|_| Err(BrokerError::Unavailable(format!("no producer within {timeout:?}"))))
        })
    }

    /// Closes what there is, without being waited for: a client of a dead broker may take its time.
    fn let_go(&mut self) -> Option<JoinHandle<()>> {
        let down = State::Down { retry_at: Instant::now() };
        let timeout = self.connect_timeout;
        match std::mem::replace(&mut self.state, down) {
            State::Up(producer) => Some(tokio::spawn(async move {
                // A producer that cannot be closed in time is dropped.
                let _ = tokio::time::timeout(timeout, producer.close()).await;
            })),
            State::Connecting(attempt) => {
                attempt.abort();
                None
            }
            State::Down { .. } => None,
        }
    }
}
