use async_trait::async_trait;

use super::{Email, EmailSender, SendFailure, Sent, Sms, SmsSender};
use crate::circuit::{self, Circuit, CircuitConfig};

/// A sender that is left alone while its provider does not answer, so that what waits does not wait for time-outs.
pub struct Guarded<S> {
    /// Its name in `ledger_circuit_state{dependency}`.
    dependency: &'static str,
    sender: S,
    circuit: Circuit,
}

impl<S> Guarded<S> {
    /// Guards a sender; five failures in a row leave it alone for two seconds.
    pub fn new(dependency: &'static str, sender: S) -> Self {
        Self::with(dependency, sender, CircuitConfig { failure_threshold: 5, open_ms: 2_000 })
    }

    /// Guards a sender with this patience.
    pub fn with(dependency: &'static str, sender: S, config: CircuitConfig) -> Self {
        circuit::show(dependency, circuit::CircuitState::Closed);
        Self { dependency, sender, circuit: Circuit::new(config) }
    }

    async fn guard(&self, sending: impl Future<Output = Result<Sent, SendFailure>>) -> Result<Sent, SendFailure> {
        let pass = self.circuit.admit().map_err(|open| SendFailure::Unavailable(open.to_string()))?;
        let outcome = sending.await;
        // One that refuses or puts off answers.
        let changed = match &outcome {
            Err(SendFailure::Unavailable(_)) => pass.failed(),
            _ => pass.worked(),
        };
        if let Some(state) = changed {
            circuit::show(self.dependency, state);
            tracing::warn!(dependency = self.dependency, ?state, "a circuit changed");
        }
        outcome
    }
}

#[async_trait]
impl<S: EmailSender> EmailSender for Guarded<S> {
    async fn send(&self, email: &Email) -> Result<Sent, SendFailure> {
        self.guard(self.sender.send(email)).await
    }
}

#[async_trait]
impl<S: SmsSender> SmsSender for Guarded<S> {
    async fn send(&self, sms: &Sms) -> Result<Sent, SendFailure> {
        self.guard(self.sender.send(sms)).await
    }
}
