//! What the processors would do next, done at once: these tests have no broker.

use chrono::DateTime;
use domain::order::PlacedOrder;
use domain::{Fulfilment, Order};
use messaging::message::{OrderCreate, StockLock};
use processors::Policy;
use processors::commands::{Origin, begin_fulfilment, lock_stock};

use super::TestApi;

impl TestApi {
    /// Takes the order to `AWAITING_PAYMENT`, or to `REJECTED` when there is no stock.
    pub async fn lock_stock(&self, order_id: &str) {
        let order = self.placed_order(order_id).await;
        let create = OrderCreate {
            order_id: order.order_id.clone(),
            user_id: order.user_id,
            show_id: order.show_id,
            ticket_type_id: order.ticket_type_id,
            quantity: order.quantity,
            total_amount: order.total_amount,
            order_time: order.order_time.timestamp_millis(),
            expire_time: order.expire_time.timestamp_millis(),
        };
        begin_fulfilment(&self.ledger, &Policy::default(), Origin::default(), create).await.unwrap();
        let fulfilment = self.ledger.load::<Fulfilment>(order_id).await.unwrap().state.begun.unwrap();
        let lock = StockLock {
            lock_id: fulfilment.lock_id,
            order_id: order.order_id,
            ticket_type_id: order.ticket_type_id,
            quantity: order.quantity,
            lock_time_seconds: 300,
            expire_time: DateTime::UNIX_EPOCH.timestamp_millis(),
        };
        lock_stock(&self.ledger, Origin::default(), lock).await.unwrap();
    }

    pub async fn placed_order(&self, order_id: &str) -> PlacedOrder {
        self.ledger.load::<Order>(order_id).await.unwrap().state.placed.unwrap()
    }

    /// An order of [`USER`](super::USER) that waits for its payment.
    pub async fn order_awaiting_payment(&self, key: &str) -> String {
        let order_id = self.place_order(key).await;
        self.lock_stock(&order_id).await;
        order_id
    }
}
