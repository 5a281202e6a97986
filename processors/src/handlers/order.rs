use async_trait::async_trait;
use event_store::Ledger;
use messaging::{Effect, HandleError, Handler, ReceivedMessage, Topic};

use super::inbox::{self, Submitted, submitted};
use crate::commands::{self, Origin};
use crate::policy::Policy;

const NAME: &str = "order";

/// Begins the saga of new orders, and undoes that of cancelled ones.
pub struct OrderHandler {
    ledger: Ledger,
    policy: Policy,
}

impl OrderHandler {
    /// A handler that decides on this ledger.
    pub fn new(ledger: Ledger, policy: Policy) -> Self {
        Self { ledger, policy }
    }

    fn submit(&self, message: &ReceivedMessage) -> Submitted {
        let origin = Origin::of_message(message, NAME);
        match message.topic {
            Topic::OrderCancel => submitted(commands::compensate_cancelled(&self.ledger, origin, message.decode()?)),
            _ => submitted(commands::begin_fulfilment(&self.ledger, &self.policy, origin, message.decode()?)),
        }
    }
}

#[async_trait]
impl Handler for OrderHandler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::OrderCreate, Topic::OrderCancel]
    }

    async fn handle(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        inbox::all(batch.iter().map(|message| self.submit(message)).collect()).await
    }
}
