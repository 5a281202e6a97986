//! What is on sale, as far as it never changes: once found, the ledger need not be asked again.

use std::collections::HashMap;
use std::sync::RwLock;

use domain::stock::TicketType;
use domain::{Stock, TicketTypeId};
use event_store::{Ledger, StoreError};

/// Show, name and price per ticket type. It holds one entry per ticket type on sale.
#[derive(Default)]
pub struct Catalogue {
    known: RwLock<HashMap<TicketTypeId, TicketType>>,
}

impl Catalogue {
    /// An empty catalogue, filled as ticket types are asked for.
    pub fn new() -> Self {
        Self::default()
    }

    /// A ticket type, if it was put on sale; one that is not known here may be known to the ledger.
    pub async fn find(&self, ledger: &Ledger, id: TicketTypeId) -> Result<Option<TicketType>, StoreError> {
        if let Some(known) = self.known(id) {
            return Ok(Some(known));
        }
        let found = ledger.load::<Stock>(&id.to_string()).await?.state.on_sale;
        if let Some(ticket_type) = &found {
            let mut known = self.known.write().unwrap_or_else(|poisoned| poisoned.into_inner());
            known.insert(id, ticket_type.clone());
        }
        Ok(found)
    }

    fn known(&self, id: TicketTypeId) -> Option<TicketType> {
        // Every write is one insert, so a panic elsewhere cannot have left it half done.
        let known = self.known.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        known.get(&id).cloned()
    }
}
