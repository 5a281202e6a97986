//! What a person decides about an order that hangs: dead letters are applied again, a compensation is retried or counts as
//! done.

use std::sync::Arc;

use domain::fulfilment::{BegunFulfilment, ResolveAction};
use domain::{Fulfilment, FulfilmentRejection, FulfilmentStep, OrderId};
use event_store::{CommandError, Ledger, Metadata, StoreError};
use messaging::dead_letter::{self, DeadLetter, DeadLetterError};
use messaging::{Handler, Topic};
use serde_json::json;
use thiserror::Error;

use crate::audit;
use crate::commands::{self, Origin};

/// The consumers that move an order: their dead letters wait by its id.
pub const CONSUMERS: [&str; 3] = ["order", "stock", "payment"];

/// What a person decided.
#[derive(Debug, Clone)]
pub struct Decision {
    pub order_id: OrderId,
    pub action: ResolveAction,
    pub reason: String,
    /// Who decided; its actor goes into the record of actions.
    pub metadata: Metadata,
}

/// What it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// Where the saga is now.
    pub step: FulfilmentStep,
    pub remaining: Vec<&'static str>,
    pub letters: LettersResolved,
}

/// What became of the order's dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LettersResolved {
    /// Applied after all.
    pub redriven: u32,
    /// Given up.
    pub discarded: u32,
    /// Why one failed again.
    pub stopped: Option<String>,
}

/// Why nothing was done.
#[derive(Debug, Error)]
pub enum ResolutionError {
    #[error("the order has no fulfilment")]
    NotBegun,
    #[error("the fulfilment is at {step}, which can only be retried: skipping is for what is undone")]
    NotSkippable { step: FulfilmentStep },
    #[error("dead letters of consumer {0} can't be applied from here")]
    NotRedrivable(String),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    DeadLetter(#[from] DeadLetterError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Carries out a decision. What is to be done is recorded before it is done, so that no action goes without its record;
/// an action that then fails is one that was asked for.
pub async fn resolve(
    ledger: &Ledger,
    handler_of: &(dyn Fn(&str) -> Option<Arc<dyn Handler>> + Send + Sync),
    decision: Decision,
) -> Result<Resolution, ResolutionError> {
    let saga = load(ledger, &decision.order_id).await?;
    let letters = dead_letter::undelivered_of(ledger.pool(), &CONSUMERS, &[decision.order_id.as_str()]).await?;
    check(&saga, &letters, decision.action)?;
    record(ledger, &decision, &saga, &letters).await?;

    let compensating = saga.is_compensating();
    if compensating {
        let origin = Origin::new(decision.metadata.clone());
        let reason = decision.reason.clone();
        commands::resolve_compensation(ledger, origin, &saga, decision.action, reason).await?;
    }
    let actor = decision.metadata.actor.as_deref().unwrap_or("unknown");
    let letters = match decision.action {
        ResolveAction::Retry => redrive(ledger, handler_of, &letters, actor).await?,
        ResolveAction::Skip => discard_rollbacks(ledger, &letters, actor, &decision.reason).await?,
    };
    let saga = load(ledger, &decision.order_id).await?;
    Ok(Resolution { step: saga.step(), remaining: saga.remaining(), letters })
}

async fn load(ledger: &Ledger, order_id: &OrderId) -> Result<BegunFulfilment, ResolutionError> {
    ledger.load::<Fulfilment>(order_id.as_str()).await?.state.begun.ok_or(ResolutionError::NotBegun)
}

fn check(saga: &BegunFulfilment, letters: &[DeadLetter], action: ResolveAction) -> Result<(), ResolutionError> {
    let step = saga.step();
    if saga.is_compensating() || (!letters.is_empty() && action == ResolveAction::Retry) {
        return Ok(());
    }
    if step.is_terminal() || letters.is_empty() {
        let rejection = FulfilmentRejection::NothingToResolve { step };
        return Err(CommandError::Rejected(rejection.into()).into());
    }
    Err(ResolutionError::NotSkippable { step })
}

async fn record(
    ledger: &Ledger,
    decision: &Decision,
    saga: &BegunFulfilment,
    letters: &[DeadLetter],
) -> Result<(), ResolutionError> {
    let detail = json!({
        "action": decision.action,
        "reason": decision.reason,
        "step": saga.step(),
        "remaining": saga.remaining(),
        "deadLetters": letters.iter().map(|letter| letter.id).collect::<Vec<_>>(),
    });
    let action = audit::Action {
        actor: decision.metadata.actor.as_deref().unwrap_or("unknown"),
        action: "saga.resolve",
        subject: decision.order_id.as_str(),
        detail,
    };
    Ok(audit::record(ledger.pool(), action).await?)
}

/// Applies the order's dead letters again, consumer by consumer; one that fails again stops its consumer's.
async fn redrive(
    ledger: &Ledger,
    handler_of: &(dyn Fn(&str) -> Option<Arc<dyn Handler>> + Send + Sync),
    letters: &[DeadLetter],
    by: &str,
) -> Result<LettersResolved, ResolutionError> {
    let mut resolved = LettersResolved::default();
    for consumer in CONSUMERS {
        let Some(first) = letters.iter().find(|letter| letter.consumer == consumer) else { continue };
        let handler = handler_of(consumer).ok_or_else(|| ResolutionError::NotRedrivable(consumer.to_owned()))?;
        let redriven = dead_letter::redrive(ledger.pool(), handler.as_ref(), first.id, by).await?;
        resolved.redriven += redriven.delivered;
        resolved.stopped = resolved.stopped.or(redriven.stopped_at.map(|at| at.reason));
    }
    Ok(resolved)
}

/// The tickets are back: a rollback that was given up has nothing left to do, and must hold up no other message.
async fn discard_rollbacks(
    ledger: &Ledger,
    letters: &[DeadLetter],
    by: &str,
    reason: &str,
) -> Result<LettersResolved, ResolutionError> {
    let mut resolved = LettersResolved::default();
    for letter in letters.iter().filter(|letter| letter.topic == Topic::StockRollback.name()) {
        let mut transaction = ledger.pool().begin().await?;
        match dead_letter::discard(&mut transaction, letter.id, by, reason).await {
            Ok(_) => resolved.discarded += 1,
            Err(DeadLetterError::Resolved { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        transaction.commit().await?;
    }
    Ok(resolved)
}
