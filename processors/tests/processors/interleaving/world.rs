//! What a case has written so far: its streams folded event by event, and what its messages told. What can be judged event
//! by event is judged here: I2, I3 and I4.

use std::collections::{HashMap, HashSet};

use cqrs_es::Aggregate;
use domain::{Decider, Fulfilment, Money, Order, OrderId, OrderStatus, Payment, PaymentId, Stock};
use event_store::Metadata;
use event_store::read::RecordedEvent;
use messaging::ReceivedMessage;
use messaging::message::{OrderStatusUpdate, StockSync};
use uuid::Uuid;

#[derive(Default)]
pub struct World {
    pub stock: Stock,
    pub orders: Vec<Life>,
    versions: HashMap<String, i64>,
    /// At which step a consumer's effect of a message was written.
    effects: HashMap<(String, String), usize>,
    message_ids: HashSet<Uuid>,
    told_stock: Option<StockSync>,
}

/// Everything about one order.
pub struct Life {
    pub id: OrderId,
    pub order: Order,
    pub saga: Fulfilment,
    pub payments: Vec<(PaymentId, Payment)>,
    /// The status that was told last.
    told: Option<OrderStatus>,
}

impl Life {
    pub fn status(&self) -> OrderStatus {
        self.order.status().unwrap_or(OrderStatus::Pending)
    }

    pub fn total(&self) -> Money {
        self.order.placed.as_ref().map(|order| order.total_amount).unwrap_or_default()
    }
}

impl World {
    pub fn apply(&mut self, event: &RecordedEvent, metadata: &Metadata, step: usize) -> Result<(), String> {
        self.expect_next_version(event)?;
        self.expect_one_effect(event, metadata, step)?;
        let Some((category, id)) = event.stream_id.split_once('-') else { return Ok(()) };
        if category == Stock::CATEGORY {
            fold(&mut self.stock, event)?;
            return self.stock_adds_up();
        }
        if category == Order::CATEGORY {
            return fold(&mut self.life(id)?.order, event);
        }
        if category == Fulfilment::CATEGORY {
            return fold(&mut self.life(id)?.saga, event);
        }
        if category == Payment::CATEGORY {
            return self.apply_payment(id, event);
        }
        Ok(())
    }

    /// A message that left with an event of this step.
    pub fn told(&mut self, message: &ReceivedMessage) -> Result<(), String> {
        if !self.message_ids.insert(message.message_id) {
            return Err(format!("I4: two messages have the id {}", message.message_id));
        }
        if let Ok(update) = message.decode::<OrderStatusUpdate>() {
            let life = self.life(update.order_id.as_str())?;
            if update.from_status != life.told {
                let (from, told) = (update.from_status, life.told);
                return Err(format!("I3: {} is told to come from {from:?}, and was last told {told:?}", life.id));
            }
            life.told = Some(update.to_status);
        }
        if let Ok(sync) = message.decode::<StockSync>() {
            self.told_stock = Some(sync);
        }
        Ok(())
    }

    /// Who has followed the messages knows what the ledger holds.
    pub fn is_told(&self) -> Result<(), String> {
        for life in &self.orders {
            if life.told != life.order.status() {
                return Err(format!("I3: {} is {}, and was last told {:?}", life.id, life.status(), life.told));
            }
        }
        let Stock { capacity, available, locked, sold, .. } = self.stock;
        let told = self.told_stock.as_ref();
        if told.is_some_and(|told| {
            (told.capacity, told.available, told.locked, told.sold) != (capacity, available, locked, sold)
        }) {
            return Err(format!("I3: caches hold {told:?}, the ledger {available}, {locked}, {sold} of {capacity}"));
        }
        Ok(())
    }

    pub fn payments(&self) -> impl Iterator<Item = (&Life, &PaymentId)> {
        self.orders.iter().flat_map(|life| life.payments.iter().map(move |(payment_id, _)| (life, payment_id)))
    }

    fn life(&mut self, order_id: &str) -> Result<&mut Life, String> {
        if let Some(index) = self.orders.iter().position(|life| life.id.as_str() == order_id) {
            return Ok(&mut self.orders[index]);
        }
        let id = OrderId::parse(order_id).map_err(|error| format!("I3: {order_id}: {error}"))?;
        let life = Life { id, order: Order::default(), saga: Fulfilment::default(), payments: Vec::new(), told: None };
        Ok(self.orders.push_mut(life))
    }

    fn apply_payment(&mut self, id: &str, event: &RecordedEvent) -> Result<(), String> {
        let known = self.orders.iter_mut().flat_map(|life| &mut life.payments).find(|(known, _)| known.as_str() == id);
        if let Some((_, payment)) = known {
            return fold(payment, event);
        }
        let mut payment = Payment::default();
        fold(&mut payment, event)?;
        let requested = payment.requested.as_ref().ok_or_else(|| format!("I3: {id} does not begin with a request"))?;
        let (payment_id, order_id) = (requested.payment_id.clone(), requested.order_id.clone());
        self.life(order_id.as_str())?.payments.push((payment_id, payment));
        Ok(())
    }

    fn expect_next_version(&mut self, event: &RecordedEvent) -> Result<(), String> {
        let version = self.versions.entry(event.stream_id.clone()).or_default();
        *version += 1;
        if event.version != *version {
            return Err(format!("I3: {} goes on with version {}, not {version}", event.stream_id, event.version));
        }
        Ok(())
    }

    fn expect_one_effect(&mut self, event: &RecordedEvent, metadata: &Metadata, step: usize) -> Result<(), String> {
        let (Some(consumer), Some(message_id)) = (&metadata.actor, &metadata.causation_id) else { return Ok(()) };
        let first = *self.effects.entry((consumer.clone(), message_id.clone())).or_insert(step);
        if first != step {
            let event = &event.event_type;
            return Err(format!("I4: {consumer} wrote {event} for {message_id}, which had its effect at step {first}"));
        }
        Ok(())
    }

    /// The folding saturates at zero, so that what would be negative shows as a sum that is wrong.
    fn stock_adds_up(&self) -> Result<(), String> {
        let Stock { capacity, available, locked, sold, .. } = self.stock;
        if available + locked + sold != capacity {
            return Err(format!(
                "I2: {available} available + {locked} locked + {sold} sold, the capacity is {capacity}"
            ));
        }
        let in_locks: u32 = self.stock.locks.values().map(|lock| lock.quantity.get()).sum();
        if in_locks != locked {
            return Err(format!("I2: {locked} locked, the live locks hold {in_locks}"));
        }
        Ok(())
    }
}

fn fold<A: Decider>(state: &mut A, event: &RecordedEvent) -> Result<(), String> {
    let event = event.decode::<A>().map_err(|error| format!("I3: {error}"))?;
    Aggregate::apply(state, event);
    Ok(())
}
