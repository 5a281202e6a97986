use std::fmt;
use std::future::Future;
use std::str::FromStr;

use domain::order::PlacedOrder;
use domain::{Fulfilment, Mode, Order, OrderCommand, OrderId, Stock, TicketTypeId};
use event_store::{CommandError, Committed, Ledger, Refusal, UnitOfWork};

use super::effects::{change_order, clear_order_expiry, compensate};
use super::{Origin, measured};
use crate::deadlines::BadDeadlineKey;

/// Which order expires. As text it is the deadline's key: `<orderId>`, and for a sync order, whose tickets go back in
/// the same append, `<orderId>/<ticketTypeId>`, so that acting on it needs no look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderExpiryKey {
    pub order_id: OrderId,
    /// Whose stock a sync order holds.
    pub ticket_type_id: Option<TicketTypeId>,
}

/// Ends an order whose time is over; one that is paid or over only loses its deadline. Whether the time is over is the
/// deadline's to say, by the database's clock.
pub fn expire_order<K: Into<OrderExpiryKey>>(
    ledger: &Ledger,
    origin: Origin,
    key: K,
) -> impl Future<Output = Result<Committed<()>, CommandError>> + Send + use<K> {
    let OrderExpiryKey { order_id, ticket_type_id } = key.into();
    let mode = origin.mode();
    let mut command = origin.command().read::<Order>(order_id.as_str()).read::<Fulfilment>(order_id.as_str());
    if let Some(ticket_type_id) = ticket_type_id {
        command = command.cached::<Stock>(&ticket_type_id.to_string());
    }
    let expiring = ledger.submit(command, move |uow| expire(uow, &order_id));
    measured("expire_order", mode, expiring)
}

fn expire(uow: &mut UnitOfWork<'_>, order_id: &OrderId) -> Result<(), Refusal> {
    clear_order_expiry(uow, order_id)?;
    if change_order(uow, order_id, OrderCommand::Expire)?.is_empty() {
        return Ok(());
    }
    compensate(uow, order_id, "order_expired")
}

impl From<&PlacedOrder> for OrderExpiryKey {
    fn from(order: &PlacedOrder) -> Self {
        let holds_itself = order.mode == Mode::Sync;
        Self { order_id: order.order_id.clone(), ticket_type_id: holds_itself.then_some(order.ticket_type_id) }
    }
}

/// An async order, whose tickets its messages name.
impl From<OrderId> for OrderExpiryKey {
    fn from(order_id: OrderId) -> Self {
        Self { order_id, ticket_type_id: None }
    }
}

impl fmt::Display for OrderExpiryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ticket_type_id {
            None => write!(f, "{}", self.order_id),
            Some(ticket_type_id) => write!(f, "{}/{ticket_type_id}", self.order_id),
        }
    }
}

impl FromStr for OrderExpiryKey {
    type Err = BadDeadlineKey;

    fn from_str(key: &str) -> Result<Self, Self::Err> {
        let (order_id, ticket_type_id) = match key.split_once('/') {
            Some((order_id, ticket_type_id)) => (order_id, Some(ticket_type_id)),
            None => (key, None),
        };
        let ticket_type_id =
            ticket_type_id.map(TicketTypeId::parse).transpose().map_err(|_| BadDeadlineKey::new(key))?;
        Ok(Self { order_id: OrderId::parse(order_id).map_err(|_| BadDeadlineKey::new(key))?, ticket_type_id })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_key_reads_back_in_both_modes_and_anything_else_is_refused() {
        for text in ["ORD202312250001", "ORD202312250001/2001"] {
            assert_eq!(text.parse::<OrderExpiryKey>().unwrap().to_string(), text);
        }
        for bad in ["", "2001", "ORD202312250001/", "ORD202312250001/0", "/2001", "ORD202312250001/2001/1"] {
            assert!(bad.parse::<OrderExpiryKey>().is_err(), "{bad}");
        }
    }
}
