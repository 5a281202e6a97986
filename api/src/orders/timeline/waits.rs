//! Why an order does not go on: the one thing that each part of what remains waits for.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::fulfilment::BegunFulfilment;
use domain::order::PlacedOrder;
use domain::{FulfilmentStep, OrderStatus};
use event_store::read::SetDeadline;
use messaging::Topic;
use messaging::dead_letter::{DeadLetter, DeadLetterState};
use messaging::inbox::ConsumerEffect;
use outbox_relay::trace::{Sending, TracedMessage};
use processors::commands::deadline_kind::ORDER_EXPIRY;

use super::body::WaitBody;

/// What is known of an order.
pub(super) struct Situation<'a> {
    pub order: &'a PlacedOrder,
    /// The saga, and since when it is at its step.
    pub saga: Option<(&'a BegunFulfilment, DateTime<Utc>)>,
    pub messages: &'a [TracedMessage],
    pub effects: &'a [ConsumerEffect],
    pub letters: &'a [DeadLetter],
    pub deadlines: &'a [SetDeadline],
    pub broker_is_away: bool,
}

/// What it waits for; empty when nothing remains.
pub(super) fn of(situation: &Situation<'_>) -> Vec<WaitBody> {
    let mut waits: Vec<WaitBody> = situation.first_dead_letter().into_iter().collect();
    if waits.is_empty() {
        waits.extend(situation.next_step());
    }
    waits.extend(situation.refunds());
    waits
}

impl Situation<'_> {
    /// Whatever else may be said: what is blocked waits for what blocks it.
    fn first_dead_letter(&self) -> Option<WaitBody> {
        let dead = self.letters.iter().find(|letter| {
            letter.state == DeadLetterState::Dead
                && letter.waiting_key.as_deref() == Some(self.order.order_id.as_str())
                && processors::resolution::CONSUMERS.contains(&letter.consumer.as_str())
        })?;
        let detail =
            format!("blocked behind dead letter {} of {} ({}): {}", dead.id, dead.consumer, dead.topic, dead.reason);
        Some(WaitBody { on: "dead_letter", detail })
    }

    fn next_step(&self) -> Option<WaitBody> {
        let Some((saga, since)) = self.saga else {
            return match self.order.status {
                OrderStatus::Pending => self.message(Topic::OrderCreate, "order"),
                _ => None,
            };
        };
        match saga.step() {
            FulfilmentStep::LockingStock => self.message(Topic::StockLock, "stock"),
            FulfilmentStep::DeductingStock => self.message(Topic::StockDeduct, "stock"),
            FulfilmentStep::ReleasingStock => self.message(Topic::StockRollback, "stock"),
            FulfilmentStep::AwaitingPayment | FulfilmentStep::LockLapsed => self.payment(since),
            _ => None,
        }
    }

    /// Until the order is over, somebody has to pay; after that, the saga has to be undone.
    fn payment(&self, since: DateTime<Utc>) -> Option<WaitBody> {
        match self.order.status {
            OrderStatus::Paying => self.message(Topic::OrderPayment, "payment").or_else(|| Some(self.provider(since))),
            OrderStatus::Cancelled => self.message(Topic::OrderCancel, "order"),
            _ => Some(self.payer()),
        }
    }

    fn payer(&self) -> WaitBody {
        match self.deadlines.iter().find(|deadline| deadline.kind == ORDER_EXPIRY) {
            Some(expiry) if expiry.is_due => {
                let detail = format!("the order's expiry, which is due since {}", shown(expiry.due_at));
                WaitBody { on: "deadline", detail }
            }
            Some(expiry) => WaitBody { on: "payment", detail: format!("the payment, until {}", shown(expiry.due_at)) },
            None => WaitBody { on: "deadline", detail: "an expiry for which no deadline is set".to_owned() },
        }
    }

    fn provider(&self, since: DateTime<Utc>) -> WaitBody {
        let payment = self.order.current_payment().map_or("", |payment| payment.payment_id.as_str());
        let asked = self.applied_at(Topic::OrderPayment, "payment").unwrap_or(since);
        let detail = format!("the payment provider's answer about {payment}, since {}", shown(asked));
        WaitBody { on: "provider", detail }
    }

    /// The last message of a topic, as far as it has not yet had its effect.
    fn message(&self, topic: Topic, consumer: &'static str) -> Option<WaitBody> {
        let message = self.last_of(topic)?;
        let id = message.message_id;
        let wait = |on, detail| Some(WaitBody { on, detail });
        match message.sending() {
            Sending::Waiting if self.broker_is_away => {
                wait("broker", format!("message {id} ({topic}) is not yet sent: the broker is away"))
            }
            Sending::Waiting => wait("message", format!("message {id} ({topic}) is not yet sent")),
            Sending::Parked => {
                let reason = message.reason.as_deref().unwrap_or("unknown");
                wait("operator", format!("message {id} ({topic}) can't be sent: {reason}"))
            }
            Sending::Skipped => wait("operator", format!("message {id} ({topic}) was given up and never sent")),
            Sending::Sent if self.applied_at(topic, consumer).is_none() => {
                wait("consumer", format!("message {id} ({topic}) is not yet consumed by {consumer}"))
            }
            Sending::Sent => None,
        }
    }

    fn refunds(&self) -> Vec<WaitBody> {
        let Some((saga, since)) = self.saga else { return Vec::new() };
        let wait = |payment_id| match saga.refund_failure(payment_id) {
            Some(failure) if failure.handed_over => {
                let detail = format!(
                    "a person: the provider refused to refund {payment_id} {} times: {}",
                    failure.attempts, failure.reason
                );
                WaitBody { on: "operator", detail }
            }
            Some(failure) => {
                let detail = format!(
                    "the payment provider, which refused to refund {payment_id} {} times: {}",
                    failure.attempts, failure.reason
                );
                WaitBody { on: "provider", detail }
            }
            None => {
                let detail = format!("the payment provider to refund {payment_id}, since {}", shown(since));
                WaitBody { on: "provider", detail }
            }
        };
        saga.refunds_owed.iter().map(wait).collect()
    }

    fn last_of(&self, topic: Topic) -> Option<&TracedMessage> {
        self.messages.iter().rfind(|message| message.topic == topic.name())
    }

    fn applied_at(&self, topic: Topic, consumer: &str) -> Option<DateTime<Utc>> {
        let id = self.last_of(topic)?.message_id;
        let effect = self.effects.iter().find(|effect| effect.message_id == id && effect.consumer == consumer)?;
        Some(effect.applied_at)
    }
}

fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
