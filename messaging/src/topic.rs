//! The eleven topics, and the lanes (one per queue of a topic) that carry their order.

use std::fmt;

/// Read and write queues of each topic.
pub const QUEUES_PER_TOPIC: u16 = 8;

/// Lanes in all: one per queue of each topic.
pub const LANES: i16 = Topic::ALL.len() as i16 * QUEUES_PER_TOPIC as i16;

/// What a message is about. Its place in [`Topic::ALL`] is part of each lane number in the outbox, so new topics go last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    OrderCreate,
    OrderPayment,
    OrderCancel,
    OrderStatusUpdate,
    StockLock,
    StockDeduct,
    StockRollback,
    StockSync,
    UserNotification,
    SmsNotification,
    EmailNotification,
}

impl Topic {
    /// Every topic, in the order that numbers the lanes.
    pub const ALL: [Topic; 11] = [
        Topic::OrderCreate,
        Topic::OrderPayment,
        Topic::OrderCancel,
        Topic::OrderStatusUpdate,
        Topic::StockLock,
        Topic::StockDeduct,
        Topic::StockRollback,
        Topic::StockSync,
        Topic::UserNotification,
        Topic::SmsNotification,
        Topic::EmailNotification,
    ];

    /// The topic's name on the broker.
    pub const fn name(self) -> &'static str {
        match self {
            Topic::OrderCreate => "order-create",
            Topic::OrderPayment => "order-payment",
            Topic::OrderCancel => "order-cancel",
            Topic::OrderStatusUpdate => "order-status-update",
            Topic::StockLock => "stock-lock",
            Topic::StockDeduct => "stock-deduct",
            Topic::StockRollback => "stock-rollback",
            Topic::StockSync => "stock-sync",
            Topic::UserNotification => "user-notification",
            Topic::SmsNotification => "sms-notification",
            Topic::EmailNotification => "email-notification",
        }
    }

    /// The only `eventType` the topic carries.
    pub const fn event_type(self) -> &'static str {
        match self {
            Topic::OrderCreate => "ORDER_CREATE",
            Topic::OrderPayment => "PAYMENT_PROCESS",
            Topic::OrderCancel => "ORDER_CANCEL",
            Topic::OrderStatusUpdate => "ORDER_STATUS_UPDATE",
            Topic::StockLock => "STOCK_LOCK",
            Topic::StockDeduct => "STOCK_DEDUCT",
            Topic::StockRollback => "STOCK_ROLLBACK",
            Topic::StockSync => "STOCK_SYNC",
            Topic::UserNotification => "USER_NOTIFICATION",
            Topic::SmsNotification => "SMS_SEND",
            Topic::EmailNotification => "EMAIL_SEND",
        }
    }

    /// The envelope's `source` for what this system sends.
    pub const fn source(self) -> &'static str {
        match self {
            Topic::OrderCreate
            | Topic::OrderPayment
            | Topic::OrderCancel
            | Topic::OrderStatusUpdate
            | Topic::StockRollback => "order-service",
            Topic::StockLock | Topic::StockDeduct | Topic::StockSync => "show-service",
            Topic::UserNotification | Topic::SmsNotification | Topic::EmailNotification => "notification-service",
        }
    }

    /// The member of `data` that messages of this topic are ordered by.
    pub(crate) const fn ordering_member(self) -> &'static str {
        match self {
            Topic::OrderCreate | Topic::OrderPayment | Topic::OrderCancel | Topic::OrderStatusUpdate => "orderId",
            Topic::StockLock | Topic::StockDeduct | Topic::StockRollback | Topic::StockSync => "ticketTypeId",
            Topic::UserNotification | Topic::SmsNotification | Topic::EmailNotification => "userId",
        }
    }

    /// The member of `data` that messages of this topic wait by: one that can't be applied holds up later ones that share
    /// it. Stock is ordered by ticket type, but orders of one ticket type don't depend on each other.
    pub(crate) const fn waiting_member(self) -> &'static str {
        match self {
            Topic::StockLock | Topic::StockDeduct | Topic::StockRollback => "orderId",
            _ => self.ordering_member(),
        }
    }

    /// Whether messages of this topic wait by what they are ordered by.
    pub(crate) fn waits_by_ordering_key(self) -> bool {
        self.waiting_member() == self.ordering_member()
    }

    /// Whether its messages hold a phone number or an address.
    pub(crate) fn names_contacts(self) -> bool {
        matches!(self, Topic::SmsNotification | Topic::EmailNotification)
    }

    /// The topic of that name on the broker.
    pub fn parse(name: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// The topic that carries this `eventType`.
    pub fn of_event_type(event_type: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.event_type() == event_type)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The lane of an ordering key: all messages of one key in one topic share a lane, hence a queue, hence an order.
pub fn lane_of(topic: Topic, ordering_key: &str) -> i16 {
    let queue = (stable_hash(ordering_key) % u64::from(QUEUES_PER_TOPIC)) as i16;
    topic as i16 * QUEUES_PER_TOPIC as i16 + queue
}

/// The topic and queue a lane stands for; `None` for a number that is no lane.
pub fn lane_parts(lane: i16) -> Option<(Topic, u16)> {
    let lane = u16::try_from(lane).ok()?;
    let topic = Topic::ALL.get(usize::from(lane / QUEUES_PER_TOPIC))?;
    Some((*topic, lane % QUEUES_PER_TOPIC))
}

/// FNV-1a, then murmur3's finalizer. Lanes are stored, so this may never change: a key that moved to another queue would
/// overtake itself. The finalizer is there because FNV's low bits see only the low bits of each byte, and ids in a row
/// differ in decimal digits: without it queues 0 and 1 get twice their share.
fn stable_hash(key: &str) -> u64 {
    let fnv = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mut mixed = fnv ^ (fnv >> 33);
    mixed = mixed.wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^= mixed >> 33;
    mixed = mixed.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}
