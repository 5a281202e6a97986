use async_trait::async_trait;
use event_store::Ledger;
use messaging::{Effect, HandleError, Handler, ReceivedMessage, Topic};

use super::inbox::{self, Submitted, submitted};
use crate::commands::{self, Origin};

const NAME: &str = "stock";

/// Locks, deducts and rolls back stock.
pub struct StockHandler {
    ledger: Ledger,
}

impl StockHandler {
    /// A handler that decides on this ledger.
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }

    fn submit(&self, message: &ReceivedMessage) -> Submitted {
        let origin = Origin::of_message(message, NAME);
        match message.topic {
            Topic::StockDeduct => submitted(commands::deduct_stock(&self.ledger, origin, message.decode()?)),
            Topic::StockRollback => submitted(commands::rollback_stock(&self.ledger, origin, message.decode()?)),
            _ => submitted(commands::lock_stock(&self.ledger, origin, message.decode()?)),
        }
    }
}

#[async_trait]
impl Handler for StockHandler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::StockLock, Topic::StockDeduct, Topic::StockRollback]
    }

    async fn handle(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        inbox::all(batch.iter().map(|message| self.submit(message)).collect()).await
    }
}
