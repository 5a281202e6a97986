//! How a step hands on to the next: an async order's through the broker, a sync order's in the same append. Which of them is
//! written in the order, so an order that was begun in one mode ends in it, whatever the rollout says meanwhile.

use domain::{Mode, OrderId};
use event_store::{Refusal, UnitOfWork};
use messaging::MessageData;

use super::effects::{placed, publish};

/// What a consumer would do on a message, as a decision of its own.
pub trait Step: MessageData {
    /// Takes the step. Its streams are declared by whoever may have to take it.
    fn take(&self, uow: &mut UnitOfWork<'_>) -> Result<(), Refusal>;
}

/// Has the next step of an order taken: later, by the message's consumer, or now.
pub fn hand_on<S: Step>(uow: &mut UnitOfWork<'_>, order_id: &OrderId, step: &S) -> Result<(), Refusal> {
    match placed(uow, order_id)?.mode {
        Mode::Async => publish(uow, step),
        Mode::Sync => step.take(uow),
    }
}
