//! When new orders go around the broker, and when they come back.

use chrono::{DateTime, Utc};
use outbox_relay::CircuitState;
use outbox_relay::health::BrokerHealth;
use processors::audit::{self, Action};
use serde_json::json;
use sqlx::PgPool;

use crate::policy::Fallback;
use crate::store::{SUBJECT, announce};

/// Bounds of the automatic fallback.
#[derive(Debug, Clone, Copy)]
pub struct Thresholds {
    /// An outbox whose oldest message waits longer is bad.
    pub outbox_age_limit_ms: i64,
    /// How long everything must have been good before orders go through the broker again.
    pub recover_after_ms: i64,
    /// Without a word of the relay for so long, what it last said of the broker counts for nothing.
    pub silent_relay_ms: i64,
}

/// What all processes know of the fallback.
#[derive(Debug, Clone, PartialEq)]
pub struct FallbackState {
    pub is_active: bool,
    /// Why it is, or was last.
    pub reason: Option<String>,
    pub changed_at: DateTime<Utc>,
    /// Since something was last found to be bad.
    pub unhealthy_ago_ms: Option<i64>,
}

/// How the way through the broker looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Good,
    /// No reason to leave it, and none to come back yet.
    Unsure,
    Bad(&'static str),
}

const CIRCUIT_OPEN: &str = "broker_circuit_open";
const OUTBOX_OLD: &str = "outbox_too_old";
const SWITCHED_OFF: &str = "fallback_switched_off";
const HEALTHY_AGAIN: &str = "healthy_again";

/// How often it is noted that things are still bad; the way back opens that much later at most.
const NOTE_EVERY_MS: i64 = 500;

impl Health {
    /// A relay that died says nothing of the broker, but its outbox grows old.
    pub fn judge(broker: &BrokerHealth, thresholds: &Thresholds) -> Self {
        if broker.oldest_unsent_age_ms.is_some_and(|age_ms| age_ms > thresholds.outbox_age_limit_ms) {
            return Self::Bad(OUTBOX_OLD);
        }
        let is_fresh = broker.reported_ago_ms.is_some_and(|ago_ms| ago_ms <= thresholds.silent_relay_ms);
        match broker.circuit.filter(|_| is_fresh) {
            Some(CircuitState::Open) => Self::Bad(CIRCUIT_OPEN),
            Some(CircuitState::HalfOpen) => Self::Unsure,
            Some(CircuitState::Closed) | None => Self::Good,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    Stay,
    /// Still bad: the way back opens later.
    Note,
    FallBack(&'static str),
    Return(&'static str),
}

pub(crate) fn next_move(wanted: Fallback, health: Health, state: &FallbackState, thresholds: &Thresholds) -> Move {
    let is_noted = state.unhealthy_ago_ms.is_some_and(|ago_ms| ago_ms < NOTE_EVERY_MS);
    let has_recovered = state.unhealthy_ago_ms.is_none_or(|ago_ms| ago_ms >= thresholds.recover_after_ms);
    match (wanted, state.is_active, health) {
        (Fallback::None, true, _) => Move::Return(SWITCHED_OFF),
        (Fallback::None, false, _) => Move::Stay,
        (Fallback::Sync, false, Health::Bad(reason)) => Move::FallBack(reason),
        (Fallback::Sync, true, Health::Good) if has_recovered => Move::Return(HEALTHY_AGAIN),
        (Fallback::Sync, true, Health::Bad(_) | Health::Unsure) if !is_noted => Move::Note,
        (Fallback::Sync, ..) => Move::Stay,
    }
}

/// Makes the move for all processes; whether orders go around the broker after it.
pub(crate) async fn make(pool: &PgPool, next: Move, state: &FallbackState) -> Result<bool, sqlx::Error> {
    match next {
        Move::Stay => return Ok(state.is_active),
        Move::Note => note(pool).await?,
        Move::FallBack(reason) => switch(pool, true, reason).await?,
        Move::Return(reason) => switch(pool, false, reason).await?,
    }
    Ok(match next {
        Move::FallBack(_) => true,
        Move::Return(_) => false,
        Move::Stay | Move::Note => state.is_active,
    })
}

async fn note(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE operations.rollout_fallback SET unhealthy_at = clock_timestamp() WHERE is_active")
        .execute(pool)
        .await
        .map(drop)
}

/// Of the processes that find the same, one makes the switch and records it.
async fn switch(pool: &PgPool, is_active: bool, reason: &str) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let switched = sqlx::query(include_str!("sql/switch.sql"))
        .bind(is_active)
        .bind(reason)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
    if switched == 0 {
        return Ok(());
    }
    let (action, mode) = if is_active { ("rollout.fall_back", "sync") } else { ("rollout.return", "policy") };
    let detail = json!({ "newOrders": mode, "reason": reason });
    audit::record(&mut *transaction, Action { actor: "system", action, subject: SUBJECT, detail }).await?;
    announce(&mut transaction).await?;
    transaction.commit().await?;
    tracing::warn!(reason, new_orders = mode, "the rollout switched by itself");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds =
        Thresholds { outbox_age_limit_ms: 30_000, recover_after_ms: 10_000, silent_relay_ms: 5_000 };

    fn broker(circuit: CircuitState, reported_ago_ms: i64, oldest_unsent_age_ms: Option<i64>) -> BrokerHealth {
        BrokerHealth { circuit: Some(circuit), reported_ago_ms: Some(reported_ago_ms), oldest_unsent_age_ms }
    }

    fn state(is_active: bool, unhealthy_ago_ms: Option<i64>) -> FallbackState {
        FallbackState { is_active, reason: None, changed_at: DateTime::UNIX_EPOCH, unhealthy_ago_ms }
    }

    #[test]
    fn the_way_is_bad_when_the_circuit_is_open_or_the_outbox_old() {
        let judge = |broker: &BrokerHealth| Health::judge(broker, &THRESHOLDS);
        assert_eq!(judge(&broker(CircuitState::Closed, 0, None)), Health::Good);
        assert_eq!(judge(&broker(CircuitState::Closed, 0, Some(30_000))), Health::Good);
        assert_eq!(judge(&broker(CircuitState::Closed, 0, Some(30_001))), Health::Bad("outbox_too_old"));
        assert_eq!(judge(&broker(CircuitState::Open, 0, None)), Health::Bad("broker_circuit_open"));
        assert_eq!(judge(&broker(CircuitState::HalfOpen, 0, None)), Health::Unsure);
    }

    #[test]
    fn of_a_silent_relay_only_the_outbox_counts() {
        let judge = |broker: &BrokerHealth| Health::judge(broker, &THRESHOLDS);
        assert_eq!(judge(&broker(CircuitState::Open, 5_001, None)), Health::Good);
        assert_eq!(judge(&broker(CircuitState::Closed, 5_001, Some(31_000))), Health::Bad("outbox_too_old"));
        let never_seen = BrokerHealth { circuit: None, reported_ago_ms: None, oldest_unsent_age_ms: None };
        assert_eq!(judge(&never_seen), Health::Good);
    }

    #[test]
    fn orders_leave_the_broker_at_once_and_come_back_slowly() {
        let next = |health, state: &FallbackState| next_move(Fallback::Sync, health, state, &THRESHOLDS);
        let bad = Health::Bad("broker_circuit_open");
        assert_eq!(next(bad, &state(false, None)), Move::FallBack("broker_circuit_open"));
        assert_eq!(next(Health::Unsure, &state(false, None)), Move::Stay);
        assert_eq!(next(bad, &state(true, Some(100))), Move::Stay);
        assert_eq!(next(bad, &state(true, Some(600))), Move::Note);
        assert_eq!(next(Health::Unsure, &state(true, Some(60_000))), Move::Note);
        assert_eq!(next(Health::Good, &state(true, Some(9_999))), Move::Stay);
        assert_eq!(next(Health::Good, &state(true, Some(10_000))), Move::Return("healthy_again"));
        assert_eq!(next(Health::Good, &state(false, Some(0))), Move::Stay);
    }

    #[test]
    fn without_a_fallback_nothing_switches_and_what_was_switched_goes_back() {
        let next = |state: &FallbackState| next_move(Fallback::None, Health::Bad("x"), state, &THRESHOLDS);
        assert_eq!(next(&state(false, None)), Move::Stay);
        assert_eq!(next(&state(true, Some(0))), Move::Return("fallback_switched_off"));
    }
}
