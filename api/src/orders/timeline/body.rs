use chrono::{DateTime, Utc};
use domain::{FulfilmentStep, OrderId, OrderStatus};
use outbox_relay::trace::Sending;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// One page of truth about an order.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Timeline)]
pub(crate) struct TimelineBody {
    #[schema(value_type = String, example = "ORD202412010001")]
    pub order_id: OrderId,
    #[schema(value_type = String, example = "AWAITING_PAYMENT")]
    pub status: OrderStatus,
    /// Of the order, of its saga and of its payments, in the order they happened.
    pub events: Vec<EventBody>,
    /// What these events caused; messages sent long ago are forgotten.
    pub messages: Vec<MessageBody>,
    /// Messages of this order that a consumer could not apply.
    pub dead_letters: Vec<LetterBody>,
    /// Null before the saga has begun.
    pub saga: Option<SagaBody>,
    /// What nothing can go on without; empty when nothing remains.
    pub waits_for: Vec<WaitBody>,
    /// Times at which something will happen unless it has happened before.
    pub deadlines: Vec<DeadlineBody>,
}

/// An event in a timeline.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TimelineEvent)]
pub(crate) struct EventBody {
    #[schema(example = "order-ORD202412010001")]
    pub stream_id: String,
    #[serde(rename = "type")]
    #[schema(example = "OrderPlaced")]
    pub event_type: String,
    pub version: i64,
    pub position: i64,
    pub time: DateTime<Utc>,
    /// Who caused it, where that is known.
    #[schema(example = "user:12345")]
    pub actor: Option<String>,
}

/// A message in a timeline.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TimelineMessage)]
pub(crate) struct MessageBody {
    #[schema(example = "order-create")]
    pub topic: String,
    #[schema(example = "ORDER_CREATE")]
    pub event_type: String,
    /// Also its KEYS on the broker.
    #[schema(value_type = String, format = "uuid")]
    pub message_id: Uuid,
    /// The broker's own id, which nobody keeps: it differs from send to send. Look for the KEYS.
    pub broker_message_id: Option<String>,
    /// Position of the event that caused it.
    pub position: i64,
    /// `sent`, `waiting`, `parked` (can't be sent) or `skipped` (given up).
    #[schema(value_type = String, example = "sent")]
    pub state: Sending,
    /// Why it is parked or was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Which consumers have applied it.
    pub effects: Vec<EffectBody>,
}

/// That a consumer has applied a message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TimelineEffect)]
pub(crate) struct EffectBody {
    #[schema(example = "stock")]
    pub consumer: String,
    pub applied_at: DateTime<Utc>,
    /// Ledger position of what it caused; null where that is not in the ledger.
    pub position: Option<i64>,
}

/// A dead letter in a timeline.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TimelineDeadLetter)]
pub(crate) struct LetterBody {
    pub id: i64,
    pub consumer: String,
    pub topic: String,
    #[schema(value_type = Option<String>, format = "uuid")]
    pub message_id: Option<Uuid>,
    /// `dead`, `behind`, `redriven` or `discarded`.
    pub state: &'static str,
    pub reason: String,
    pub attempts: i32,
    pub created_at: DateTime<Utc>,
}

/// How far the saga is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TimelineSaga)]
pub(crate) struct SagaBody {
    #[schema(value_type = String, example = "AWAITING_PAYMENT")]
    pub step: FulfilmentStep,
    /// When it came to this step.
    pub since: DateTime<Utc>,
    /// In the order they were done.
    pub done: Vec<StepBody>,
    /// In the order they are to be done.
    #[schema(value_type = Vec<String>, example = json!(["capture_payment", "deduct_stock", "confirm_order"]))]
    pub remaining: Vec<&'static str>,
    /// A compensation failed too often: `order-ledger sagas resolve` decides.
    pub handed_over: bool,
}

/// A step of the saga that was done.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TimelineStep)]
pub(crate) struct StepBody {
    #[schema(example = "lock_stock")]
    pub step: &'static str,
    pub position: i64,
    pub time: DateTime<Utc>,
}

/// Something the order waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TimelineWait)]
pub(crate) struct WaitBody {
    /// `payment`, `provider`, `message`, `broker`, `consumer`, `dead_letter`, `deadline` or `operator`.
    #[schema(example = "payment")]
    pub on: &'static str,
    /// For people.
    #[schema(example = "the payment, until 2024-12-01T00:15:00Z")]
    pub detail: String,
}

/// A deadline that is set.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TimelineDeadline)]
pub(crate) struct DeadlineBody {
    #[schema(example = "order_expiry")]
    pub kind: String,
    pub key: String,
    pub due_at: DateTime<Utc>,
    /// Its time has come and it is about to be acted on.
    pub is_due: bool,
}
