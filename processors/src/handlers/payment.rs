use std::sync::Arc;

use async_trait::async_trait;
use domain::Order;
use event_store::Ledger;
use futures_util::FutureExt;
use messaging::message::OrderPayment;
use messaging::{Effect, HandleError, Handler, ReceivedMessage, Topic};

use super::inbox::{effect_of, outside};
use super::replay;
use crate::commands::{self, Origin};
use crate::provider::{PaymentProvider, PaymentRequest, ProviderError};

const NAME: &str = "payment";

/// Asks the provider for the money. The call happens outside any transaction and may be repeated: the provider knows a
/// payment by its id.
pub struct PaymentHandler {
    ledger: Ledger,
    provider: Arc<dyn PaymentProvider>,
    max_concurrent_calls: usize,
}

impl PaymentHandler {
    /// A handler that asks this provider.
    pub fn new(ledger: Ledger, provider: Arc<dyn PaymentProvider>, max_concurrent_calls: usize) -> Self {
        Self { ledger, provider, max_concurrent_calls }
    }

    async fn start(&self, message: &ReceivedMessage) -> Result<Effect, HandleError> {
        let data: OrderPayment = message.decode()?;
        if self.is_under_way(&data).await? {
            let payment = PaymentRequest {
                payment_id: data.payment_id,
                order_id: data.order_id,
                amount: data.amount,
                payment_method: data.payment_method,
            };
            self.provider.start(&payment).await.map_err(not_started)?;
        }
        effect_of(commands::record_handled(&self.ledger, Origin::of_message(message, NAME)).await)
    }

    /// No money is asked for an order that has ended meanwhile.
    async fn is_under_way(&self, data: &OrderPayment) -> Result<bool, HandleError> {
        let order = self.ledger.load::<Order>(data.order_id.as_str()).await;
        let order = order.map_err(|error| HandleError::Transient(error.to_string()))?.state.placed;
        Ok(order.is_some_and(|order| order.is_paying_by(&data.payment_id)))
    }
}

#[async_trait]
impl Handler for PaymentHandler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_quiet_on_replay(&self) -> bool {
        replay::is_quiet(NAME)
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::OrderPayment]
    }

    async fn handle(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        outside(batch, self.max_concurrent_calls, |message| self.start(message).boxed()).await
    }
}

fn not_started(error: ProviderError) -> HandleError {
    match error {
        ProviderError::Unavailable(_) | ProviderError::CircuitOpen => HandleError::Transient(error.to_string()),
        ProviderError::Refused { .. } => HandleError::Failed(error.to_string()),
    }
}
