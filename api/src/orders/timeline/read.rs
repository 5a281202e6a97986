use std::collections::BTreeSet;

use domain::fulfilment::BegunFulfilment;
use domain::order::PlacedOrder;
use domain::{Decider, Fulfilment, FulfilmentEvent, Order, OrderId, Payment};
use event_store::Metadata;
use event_store::read::{self, RecordedEvent, SetDeadline};
use messaging::dead_letter::{self, DeadLetter};
use messaging::inbox::{self, ConsumerEffect};
use messaging::{Topic, lane_of};
use outbox_relay::trace::{self, TracedMessage};
use outbox_relay::{CircuitState, health};
use processors::commands::deadline_kind::{LOCK_LAPSE, ORDER_EXPIRY, PAYMENT_QUERY, REFUND};
use processors::commands::{LockLapseKey, OrderExpiryKey, PaymentKey};
use processors::resolution;
use projections::SagaView;
use sqlx::PgPool;
use uuid::Uuid;

use super::body::{DeadlineBody, EffectBody, EventBody, LetterBody, MessageBody, SagaBody, StepBody, TimelineBody};
use super::waits::{self, Situation};
use crate::problem::Problem;
use crate::refusals::database_away;
use crate::state::ApiState;

/// Events shown of one stream; an order has a dozen.
const MAX_EVENTS: i64 = 1_000;

/// Puts a timeline together. Its parts are read one after the other, so one that is read later may know more.
pub(super) async fn timeline(api: &ApiState, order_id: &OrderId) -> Result<TimelineBody, Problem> {
    let order = api.ledger.load::<Order>(order_id.as_str()).await?.state.placed;
    let order = order.ok_or_else(|| Problem::internal("an order that is shown is not in the ledger"))?;
    let saga = projections::sagas::get(&api.queries, order_id).await?;
    let fulfilment = stream::<Fulfilment>(&api.queries, order_id.as_str()).await?;
    let done = done(&fulfilment)?;
    let events = events(&api.queries, &order, fulfilment).await?;
    let messages = messages(&api.queries, &order, &events).await?;
    let ids: Vec<Uuid> = messages.iter().map(|message| message.message_id).collect();
    let consumers = consumers(api);
    let effects = inbox::effects(&api.queries, &consumers, &ids).await.map_err(database_away)?;
    let letters = dead_letters(&api.queries, &consumers, &order, &ids).await?;
    let deadlines = deadlines(&api.queries, &order, saga.as_ref().map(|saga| &saga.saga)).await?;
    let waits_for = waits::of(&Situation {
        order: &order,
        saga: saga.as_ref().map(|saga| (&saga.saga, saga.step_since)),
        messages: &messages,
        effects: &effects,
        letters: &letters,
        deadlines: &deadlines,
        broker_is_away: broker_is_away(&api.queries).await,
    });
    Ok(TimelineBody {
        order_id: order.order_id,
        status: order.status,
        events: events.into_iter().map(EventBody::from).collect(),
        messages: messages.into_iter().map(|message| MessageBody::of(message, &effects)).collect(),
        dead_letters: letters.into_iter().map(LetterBody::from).collect(),
        saga: saga.map(|saga| SagaBody::of(saga, done)),
        waits_for,
        deadlines: deadlines.into_iter().map(DeadlineBody::from).collect(),
    })
}

async fn stream<A: Decider>(pool: &PgPool, id: &str) -> Result<Vec<RecordedEvent>, Problem> {
    Ok(read::stream(pool, &A::stream_id(id), 0, MAX_EVENTS).await?)
}

/// Of the order, its saga and its payments, by position.
async fn events(
    pool: &PgPool,
    order: &PlacedOrder,
    fulfilment: Vec<RecordedEvent>,
) -> Result<Vec<RecordedEvent>, Problem> {
    let mut events = stream::<Order>(pool, order.order_id.as_str()).await?;
    events.extend(fulfilment);
    for attempt in &order.payments {
        events.extend(stream::<Payment>(pool, attempt.payment_id.as_str()).await?);
    }
    events.sort_by_key(|event| event.position);
    Ok(events)
}

/// An order's messages lie on a few lanes, known by what they are ordered by.
async fn messages(pool: &PgPool, order: &PlacedOrder, events: &[RecordedEvent]) -> Result<Vec<TracedMessage>, Problem> {
    let (order_id, ticket_type_id) = (order.order_id.as_str(), order.ticket_type_id.to_string());
    let by_order = [Topic::OrderCreate, Topic::OrderPayment, Topic::OrderCancel, Topic::OrderStatusUpdate];
    let by_ticket_type = [Topic::StockLock, Topic::StockDeduct, Topic::StockRollback, Topic::StockSync];
    let lanes: BTreeSet<i16> = by_order
        .map(|topic| lane_of(topic, order_id))
        .into_iter()
        .chain(by_ticket_type.map(|topic| lane_of(topic, &ticket_type_id)))
        .collect();
    let lanes: Vec<i16> = lanes.into_iter().collect();
    let positions: Vec<i64> = events.iter().map(|event| event.position).collect();
    trace::messages(pool, &lanes, &positions).await.map_err(database_away)
}

/// Everybody who may have applied one of the messages.
fn consumers(api: &ApiState) -> Vec<&'static str> {
    let known = api.consumers.iter().map(|consumer| consumer.name);
    let all: BTreeSet<&'static str> = known.chain(processors::handlers::NAMES).collect();
    all.into_iter().collect()
}

/// Of the order's messages, and what waits by the order though its message can't be told.
async fn dead_letters(
    pool: &PgPool,
    consumers: &[&str],
    order: &PlacedOrder,
    message_ids: &[Uuid],
) -> Result<Vec<DeadLetter>, Problem> {
    let mut letters = dead_letter::of_messages(pool, consumers, message_ids).await?;
    let waiting = dead_letter::undelivered_of(pool, &resolution::CONSUMERS, &[order.order_id.as_str()]).await?;
    letters.extend(waiting);
    letters.sort_by_key(|letter| letter.id);
    letters.dedup_by_key(|letter| letter.id);
    Ok(letters)
}

async fn deadlines(
    pool: &PgPool,
    order: &PlacedOrder,
    saga: Option<&BegunFulfilment>,
) -> Result<Vec<SetDeadline>, Problem> {
    let mut wanted = vec![(ORDER_EXPIRY, OrderExpiryKey::from(order).to_string())];
    wanted.extend(saga.map(|saga| (LOCK_LAPSE, LockLapseKey::of_saga(saga).to_string())));
    for attempt in &order.payments {
        let key = PaymentKey { order_id: order.order_id.clone(), payment_id: attempt.payment_id.clone() };
        wanted.extend([(PAYMENT_QUERY, key.to_string()), (REFUND, key.to_string())]);
    }
    Ok(read::deadlines(pool, &wanted).await?)
}

/// As the relay last said; not known is not away.
async fn broker_is_away(pool: &PgPool) -> bool {
    let circuit = health::observe(pool).await.ok().and_then(|health| health.circuit);
    matches!(circuit, Some(CircuitState::Open | CircuitState::HalfOpen))
}

/// Every step that was done, in order.
fn done(fulfilment: &[RecordedEvent]) -> Result<Vec<StepBody>, Problem> {
    let mut done = Vec::new();
    for recorded in fulfilment {
        let steps = steps_done(&recorded.decode::<Fulfilment>()?);
        let (position, time) = (recorded.position, recorded.recorded_at);
        done.extend(steps.iter().map(|step| StepBody { step, position, time }));
    }
    Ok(done)
}

/// The steps that an event completes, named as those that remain are.
fn steps_done(event: &FulfilmentEvent) -> &'static [&'static str] {
    match event {
        FulfilmentEvent::LockGranted { .. } | FulfilmentEvent::Relocked { .. } => &["lock_stock"],
        FulfilmentEvent::CaptureRecorded { .. } => &["capture_payment"],
        FulfilmentEvent::FulfilmentCompleted {} => &["deduct_stock", "confirm_order"],
        FulfilmentEvent::CompensationCompleted { .. } => &["release_stock"],
        FulfilmentEvent::RefundRecorded { .. } => &["refund_payment"],
        _ => &[],
    }
}

impl SagaBody {
    fn of(saga: SagaView, done: Vec<StepBody>) -> Self {
        let remaining = saga.remaining();
        Self { step: saga.step, since: saga.step_since, done, remaining, handed_over: saga.handed_over }
    }
}

impl From<RecordedEvent> for EventBody {
    fn from(event: RecordedEvent) -> Self {
        let metadata: Option<Metadata> = serde_json::from_str(&event.metadata).ok();
        Self {
            stream_id: event.stream_id,
            event_type: event.event_type,
            version: event.version,
            position: event.position,
            time: event.recorded_at,
            actor: metadata.and_then(|metadata| metadata.actor),
        }
    }
}

impl MessageBody {
    fn of(message: TracedMessage, effects: &[ConsumerEffect]) -> Self {
        let state = message.sending();
        let of_message = effects.iter().filter(|effect| effect.message_id == message.message_id);
        Self {
            effects: of_message.map(EffectBody::of).collect(),
            topic: message.topic,
            event_type: message.event_type,
            message_id: message.message_id,
            broker_message_id: None,
            position: message.position,
            state,
            reason: message.reason,
        }
    }
}

impl EffectBody {
    fn of(effect: &ConsumerEffect) -> Self {
        Self { consumer: effect.consumer.clone(), applied_at: effect.applied_at, position: effect.position }
    }
}

impl From<DeadLetter> for LetterBody {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            consumer: letter.consumer,
            topic: letter.topic,
            message_id: letter.message_id,
            state: letter.state.as_str(),
            reason: letter.reason,
            attempts: letter.attempts,
            created_at: letter.created_at,
        }
    }
}

impl From<SetDeadline> for DeadlineBody {
    fn from(deadline: SetDeadline) -> Self {
        Self { kind: deadline.kind, key: deadline.key, due_at: deadline.due_at, is_due: deadline.is_due }
    }
}
