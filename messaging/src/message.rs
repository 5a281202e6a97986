//! What each topic's `data` holds. Times are epoch milliseconds unless the name says otherwise; unknown members are
//! tolerated, so that a sender may add some within version 1.

use std::fmt;

use domain::{
    Channel, LockId, Money, NotificationId, OrderId, OrderStatus, PaymentId, Quantity, ShowId, TicketTypeId, UserId,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::topic::Topic;

/// The data of one topic's messages.
pub trait MessageData: Serialize + DeserializeOwned + Send + Sync {
    /// The topic that carries it.
    const TOPIC: Topic;
    /// Messages that share it share a queue, and come in the order they were sent.
    fn ordering_key(&self) -> String;
    /// While a message can't be applied, later ones that share it wait. Those of one waiting key have one ordering key.
    fn waiting_key(&self) -> String {
        self.ordering_key()
    }
    /// The order, lock or payment a person would search the broker for.
    fn business_id(&self) -> String;
}

macro_rules! message_data {
    ($data:ident, $topic:ident, ordered by $key:ident, $(waits by $waiting:ident,)? found by $business:ident) => {
        impl MessageData for $data {
            const TOPIC: Topic = Topic::$topic;
            fn ordering_key(&self) -> String {
                self.$key.to_string()
            }
            $(fn waiting_key(&self) -> String {
                self.$waiting.to_string()
            })?
            fn business_id(&self) -> String {
                self.$business.to_string()
            }
        }
    };
}

message_data!(OrderCreate, OrderCreate, ordered by order_id, found by order_id);
message_data!(OrderPayment, OrderPayment, ordered by order_id, found by payment_id);
message_data!(OrderCancel, OrderCancel, ordered by order_id, found by order_id);
message_data!(OrderStatusUpdate, OrderStatusUpdate, ordered by order_id, found by order_id);
message_data!(StockLock, StockLock, ordered by ticket_type_id, waits by order_id, found by lock_id);
message_data!(StockDeduct, StockDeduct, ordered by ticket_type_id, waits by order_id, found by lock_id);
message_data!(StockRollback, StockRollback, ordered by ticket_type_id, waits by order_id, found by lock_id);
message_data!(StockSync, StockSync, ordered by ticket_type_id, found by ticket_type_id);
message_data!(UserNotification, UserNotification, ordered by user_id, found by order_id);
message_data!(SmsNotification, SmsNotification, ordered by user_id, found by notification_id);
message_data!(EmailNotification, EmailNotification, ordered by user_id, found by notification_id);

/// `order-create`: an order was placed and wants its tickets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderCreate {
    pub order_id: OrderId,
    pub user_id: UserId,
    pub show_id: ShowId,
    pub ticket_type_id: TicketTypeId,
    pub quantity: Quantity,
    pub total_amount: Money,
    pub order_time: i64,
    pub expire_time: i64,
}

/// `order-payment`: the provider is to be asked for the money.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderPayment {
    pub order_id: OrderId,
    pub payment_id: PaymentId,
    pub payment_method: String,
    pub amount: Money,
    pub payment_time: i64,
    #[serde(default)]
    pub callback_url: Option<String>,
}

/// `order-cancel`: the user gave the order up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderCancel {
    pub order_id: OrderId,
    pub user_id: UserId,
    pub reason: String,
    pub cancel_time: i64,
}

/// `order-status-update`: an order moved on. A new order comes from nowhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderStatusUpdate {
    pub order_id: OrderId,
    pub user_id: UserId,
    #[serde(default)]
    pub from_status: Option<OrderStatus>,
    pub to_status: OrderStatus,
    #[serde(default)]
    pub reason: Option<String>,
    pub change_time: i64,
}

/// `stock-lock`: hold tickets for an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StockLock {
    pub lock_id: LockId,
    pub order_id: OrderId,
    pub ticket_type_id: TicketTypeId,
    pub quantity: Quantity,
    /// How long the lock holds, from when it is granted.
    #[serde(rename = "lockTime")]
    pub lock_time_seconds: i64,
    pub expire_time: i64,
}

/// `stock-deduct`: the held tickets are paid for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StockDeduct {
    pub lock_id: LockId,
    pub order_id: OrderId,
    pub ticket_type_id: TicketTypeId,
    pub quantity: Quantity,
    pub deduct_time: i64,
}

/// `stock-rollback`: give the held tickets back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StockRollback {
    pub lock_id: LockId,
    pub order_id: OrderId,
    pub ticket_type_id: TicketTypeId,
    pub quantity: Quantity,
    pub reason: String,
    pub rollback_time: i64,
}

/// `stock-sync`: what a cache should now show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StockSync {
    pub ticket_type_id: TicketTypeId,
    pub show_id: ShowId,
    pub capacity: u32,
    pub available: u32,
    pub locked: u32,
    pub sold: u32,
    pub stream_version: u64,
    pub sync_time: i64,
}

/// `user-notification`: tell the user, on these channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserNotification {
    pub notification_id: NotificationId,
    pub user_id: UserId,
    pub order_id: OrderId,
    pub template: String,
    pub title: String,
    pub body: String,
    pub channels: Vec<Channel>,
}

/// `sms-notification`: one text message. Its `Debug` hides the phone number, because logs may not hold it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SmsNotification {
    pub notification_id: NotificationId,
    pub user_id: UserId,
    pub phone: String,
    pub body: String,
}

/// `email-notification`: one e-mail. Its `Debug` hides the address, because logs may not hold it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EmailNotification {
    pub notification_id: NotificationId,
    pub user_id: UserId,
    pub email: String,
    pub subject: String,
    pub body: String,
}

impl fmt::Debug for SmsNotification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmsNotification")
            .field("notification_id", &self.notification_id)
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for EmailNotification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmailNotification")
            .field("notification_id", &self.notification_id)
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}
