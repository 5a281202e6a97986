//! What the processors would do next, done at once: these tests have no broker.

use chrono::DateTime;
use domain::fulfilment::BegunFulfilment;
use domain::order::PlacedOrder;
use domain::{Fulfilment, Order, OrderId, PaymentId};
use messaging::message::{OrderCancel, OrderCreate, StockDeduct, StockLock, StockRollback};
use processors::Policy;
use processors::commands::{
    Origin, PaymentKey, RefundRetries, StartPayment, begin_fulfilment, compensate_cancelled, complete_refund,
    deduct_stock, expire_order, lock_stock, record_refund_failure, rollback_stock, settle_payment, start_payment,
};
use processors::provider::{CallbackStatus, PaymentCallback};

use super::{TestApi, USER, post};

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

    /// Starts a payment of an order whose tickets are held.
    pub async fn start_payment(&self, order_id: &str) -> PaymentId {
        let order = self.placed_order(order_id).await;
        let request = StartPayment { payment_method: "ALIPAY".to_owned(), callback_url: None };
        let started = start_payment(&self.ledger, &Policy::default(), Origin::default(), &order, request).await;
        started.unwrap().value.payment_id
    }

    /// What the provider says of a payment.
    pub async fn settle(&self, order_id: &str, payment_id: &PaymentId, status: CallbackStatus) {
        let callback = PaymentCallback {
            payment_id: payment_id.clone(),
            order_id: OrderId::parse(order_id).unwrap(),
            status,
            amount: self.placed_order(order_id).await.total_amount,
            provider_reference: "provider-1".to_owned(),
            paid_time: 1_701_388_800_000,
        };
        settle_payment(&self.ledger, &Policy::default(), Origin::default(), callback).await.unwrap();
    }

    /// An order of [`USER`](super::USER) that is paid for.
    pub async fn paid_order(&self, key: &str) -> String {
        let order_id = self.order_awaiting_payment(key).await;
        let payment_id = self.start_payment(&order_id).await;
        self.settle(&order_id, &payment_id, CallbackStatus::Succeeded).await;
        order_id
    }

    /// Takes a paid order to `CONFIRMED`.
    pub async fn deduct_stock(&self, order_id: &str) {
        let saga = self.saga(order_id).await;
        let deduct = StockDeduct {
            lock_id: saga.lock_id,
            order_id: saga.order_id,
            ticket_type_id: saga.ticket_type_id,
            quantity: saga.quantity,
            deduct_time: 0,
        };
        deduct_stock(&self.ledger, Origin::default(), deduct).await.unwrap();
    }

    /// Puts an ended order's tickets back on sale.
    pub async fn roll_back(&self, order_id: &str) {
        let saga = self.saga(order_id).await;
        let rollback = StockRollback {
            lock_id: saga.lock_id,
            order_id: saga.order_id,
            ticket_type_id: saga.ticket_type_id,
            quantity: saga.quantity,
            reason: "order_expired".to_owned(),
            rollback_time: 0,
        };
        rollback_stock(&self.ledger, Origin::default(), rollback).await.unwrap();
    }

    /// Has a cancelled order's tickets asked back.
    pub async fn compensate(&self, order_id: &str) {
        let order = self.placed_order(order_id).await;
        let cancel = OrderCancel {
            order_id: order.order_id,
            user_id: order.user_id,
            reason: "changed_my_mind".to_owned(),
            cancel_time: 0,
        };
        compensate_cancelled(&self.ledger, Origin::default(), cancel).await.unwrap();
    }

    pub async fn expire(&self, order_id: &str) {
        expire_order(&self.ledger, Origin::default(), OrderId::parse(order_id).unwrap()).await.unwrap();
    }

    /// A cancelled order whose payment was captured too late: it is to be refunded.
    pub async fn order_to_refund(&self, key: &str) -> (String, PaymentId) {
        let order_id = self.order_awaiting_payment(key).await;
        let payment_id = self.start_payment(&order_id).await;
        self.cancel(&order_id).await;
        self.settle(&order_id, &payment_id, CallbackStatus::Succeeded).await;
        (order_id, payment_id)
    }

    pub async fn cancel(&self, order_id: &str) {
        let cancelled = self.call(post(format!("/v1/orders/{order_id}/cancel")).user(USER)).await;
        assert_eq!(cancelled.status, 202, "{cancelled:?}");
    }

    pub async fn refund(&self, order_id: &str, payment_id: &PaymentId) {
        let key = self.refund_key(order_id, payment_id);
        complete_refund(&self.ledger, Origin::default(), key, "refund-1".to_owned()).await.unwrap();
    }

    /// The provider refuses the refund once; a person must decide at once.
    pub async fn hand_refund_over(&self, order_id: &str, payment_id: &PaymentId) {
        let retries = RefundRetries { max_attempts: 1, first_pause_ms: 1, max_pause_ms: 1 };
        let reason = "account closed".to_owned();
        let key = self.refund_key(order_id, payment_id);
        record_refund_failure(&self.ledger, Origin::default(), key, reason, retries).await.unwrap();
    }

    pub async fn saga(&self, order_id: &str) -> BegunFulfilment {
        self.ledger.load::<Fulfilment>(order_id).await.unwrap().state.begun.unwrap()
    }

    fn refund_key(&self, order_id: &str, payment_id: &PaymentId) -> PaymentKey {
        PaymentKey { order_id: OrderId::parse(order_id).unwrap(), payment_id: payment_id.clone() }
    }
}
