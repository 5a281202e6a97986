use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use domain::{Money, PaymentId};

use super::{DEPENDENCY, PaymentProvider, PaymentRequest, ProviderError, ProviderPayment, ProviderRefund};
use crate::circuit::{self, Circuit, CircuitBoard, CircuitConfig, CircuitState};

/// A provider behind a circuit breaker: while it does not answer it is left alone, and those who would have to wait for
/// it are told at once. A refusal is an answer.
pub struct GuardedProvider {
    provider: Arc<dyn PaymentProvider>,
    circuit: Circuit,
    board: CircuitBoard,
}

impl GuardedProvider {
    /// Guards this provider, and tells the other processes on the board when it is left alone.
    pub fn new(provider: Arc<dyn PaymentProvider>, config: CircuitConfig, board: CircuitBoard) -> Self {
        circuit::show(DEPENDENCY, CircuitState::Closed);
        Self { provider, circuit: Circuit::new(config), board }
    }

    async fn guard<T>(&self, call: impl Future<Output = Result<T, ProviderError>>) -> Result<T, ProviderError> {
        let pass = self.circuit.admit().map_err(|_| ProviderError::CircuitOpen)?;
        if pass.is_probe() {
            circuit::show(DEPENDENCY, CircuitState::HalfOpen);
        }
        let outcome = call.await;
        let changed = match &outcome {
            Err(ProviderError::Unavailable(_)) => pass.failed(),
            Ok(_) | Err(ProviderError::Refused { .. } | ProviderError::CircuitOpen) => pass.worked(),
        };
        if let Some(state) = changed {
            self.tell(state).await;
        }
        outcome
    }

    async fn tell(&self, state: CircuitState) {
        circuit::show(DEPENDENCY, state);
        let told = if state == CircuitState::Open {
            tracing::warn!("the payment provider does not answer; it is left alone for a while");
            self.board.opened(self.circuit.pause()).await
        } else {
            tracing::info!("the payment provider answers again");
            self.board.closed().await
        };
        if let Err(error) = told {
            tracing::warn!(%error, "the other processes do not know of it");
        }
    }
}

#[async_trait]
impl PaymentProvider for GuardedProvider {
    async fn start(&self, payment: &PaymentRequest) -> Result<ProviderPayment, ProviderError> {
        self.guard(self.provider.start(payment)).await
    }

    async fn query(&self, payment_id: &PaymentId) -> Result<ProviderPayment, ProviderError> {
        self.guard(self.provider.query(payment_id)).await
    }

    async fn refund(&self, payment_id: &PaymentId, amount: Money) -> Result<ProviderRefund, ProviderError> {
        self.guard(self.provider.refund(payment_id, amount)).await
    }
}
