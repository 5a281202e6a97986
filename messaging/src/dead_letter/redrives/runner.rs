//! Carrying redrives out: keys side by side, each in order, no faster than was asked for.
//!
//! Whoever claims a redrive keeps it by renewing its claim; when it dies, another goes on with the keys that are left. A
//! letter is marked, and counted, in one transaction after its handler said that it is applied, so going on counts nothing
//! twice and nothing that did not happen. A key that fails stops alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{TryStreamExt, stream};
use sqlx::{FromRow, PgPool};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::dead_letter::park::storable_reason;
use crate::dead_letter::redrive::{Place, Step, apply_first};
use crate::handler::Handler;

/// Keys read ahead.
const KEYS_AT_ONCE: i64 = 256;
/// Messages that may be applied at once after a pause, in time: what timers are late by.
const PACE_CREDIT: Duration = Duration::from_millis(100);

/// Bounds and waits of a runner, each with its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedriveConfig {
    /// How often it looks for a redrive to carry out (250 ms).
    pub poll_interval_ms: u64,
    /// After so long without a sign of whoever carries it out, another takes a redrive over (5,000 ms).
    pub claim_ttl_ms: u64,
    /// Redrives carried out at once (3).
    pub max_redrives: usize,
    /// How long one is carried out before it makes room, where others wait (2,000 ms): a slow one keeps nobody from his turn. A
    /// message that is being tried again is tried to the end.
    pub turn_ms: u64,
    /// Keys of one redrive worked on side by side (4). Each holds a connection, and its handler takes others.
    pub max_keys: usize,
    /// Further tries of a message whose dependency is away, before its key stops (5).
    pub max_retries: u32,
    /// Pause before the first of them (200 ms); doubles each time.
    pub retry_pause_ms: u64,
    /// Wait before going on when Postgres failed (500 ms).
    pub reconnect_wait_ms: u64,
}

impl Default for RedriveConfig {
    fn default() -> Self {
        RedriveConfig {
            poll_interval_ms: 250,
            claim_ttl_ms: 5_000,
            max_redrives: 3,
            turn_ms: 2_000,
            max_keys: 4,
            max_retries: 5,
            retry_pause_ms: 200,
            reconnect_wait_ms: 500,
        }
    }
}

/// Carries out redrives with the handlers it has.
pub struct RedriveRunner {
    pool: PgPool,
    handlers: HashMap<&'static str, Arc<dyn Handler>>,
    config: RedriveConfig,
    /// Names it among others.
    worker: String,
}

/// What ends the work on a claimed redrive before it is done, between two messages.
struct Stop {
    /// Obeyed at once: shutdown, and a claim that was lost or cancelled.
    now: CancellationToken,
    /// The same, and the end of its turn. A message that is being tried again is tried to the end: its tries are counted in
    /// memory, so that a key whose turns all ended before the last of them would never stop.
    turn: CancellationToken,
}

impl Stop {
    fn new(now: CancellationToken) -> Stop {
        Stop { turn: now.child_token(), now }
    }

    fn after(&self, retries: u32) -> &CancellationToken {
        if retries == 0 { &self.turn } else { &self.now }
    }
}

/// A redrive that was claimed.
#[derive(FromRow)]
struct Claimed {
    redrive_id: Uuid,
    cause: Option<String>,
    rate_per_second: i32,
    started_by: String,
    /// Names this claim: the same process may lose a redrive and claim it again.
    worker: String,
}

#[derive(FromRow)]
struct Key {
    first_letter_id: i64,
    consumer: String,
    waiting_key: Option<String>,
}

impl RedriveRunner {
    /// A runner named `worker`. A redrive of a consumer it has no handler of stops at that consumer's keys.
    pub fn new(
        pool: PgPool,
        handlers: impl IntoIterator<Item = Arc<dyn Handler>>,
        config: RedriveConfig,
        worker: String,
    ) -> RedriveRunner {
        let handlers = handlers.into_iter().map(|handler| (handler.name(), handler)).collect();
        RedriveRunner { pool, handlers, config, worker }
    }

    /// Carries out what is asked for until shutdown. Messages that are being applied then are finished first.
    pub async fn run(self, shutdown: CancellationToken) {
        let poll_interval = Duration::from_millis(self.config.poll_interval_ms);
        let runner = Arc::new(self);
        let mut under_way = JoinSet::new();
        while !shutdown.is_cancelled() {
            while under_way.try_join_next().is_some() {}
            if under_way.len() < runner.config.max_redrives {
                match runner.claim().await {
                    Ok(Some(redrive)) => {
                        let (runner, stop) = (runner.clone(), shutdown.child_token());
                        under_way.spawn(async move { runner.carry_out(redrive, stop).await });
                        continue;
                    }
                    Ok(None) => {}
                    Err(error) => debug!(%error, "redrives could not be looked for"),
                }
            }
            pause(poll_interval, &shutdown).await;
        }
        under_way.join_all().await;
    }

    /// Carries out the redrive that has waited longest, to its end, or that of its turn; `false` when there is none.
    pub async fn step(&self) -> Result<bool, sqlx::Error> {
        let Some(redrive) = self.claim().await? else { return Ok(false) };
        self.carry_out(redrive, CancellationToken::new()).await;
        Ok(true)
    }

    async fn claim(&self) -> Result<Option<Claimed>, sqlx::Error> {
        sqlx::query_as(include_str!("claim.sql"))
            .bind(self.new_claim())
            .bind(self.claim_ttl().as_secs_f64())
            .fetch_optional(&self.pool)
            .await
    }

    fn new_claim(&self) -> String {
        format!("{}-{:08x}", self.worker, Uuid::new_v4().as_fields().0)
    }

    fn claim_ttl(&self) -> Duration {
        Duration::from_millis(self.config.claim_ttl_ms)
    }

    /// Works while the claim holds. `stop` ends it between two messages.
    async fn carry_out(&self, redrive: Claimed, stop: CancellationToken) {
        let stop = Stop::new(stop);
        let ended = CancellationToken::new();
        let working = async {
            while let Err(error) = self.go_through(&redrive, &stop).await {
                // The claim runs out by itself.
                if stop.turn.is_cancelled() {
                    debug!(redrive_id = %redrive.redrive_id, %error, "redrive left as it is");
                    break;
                }
                warn!(redrive_id = %redrive.redrive_id, %error, "redrive interrupted, going on");
                pause(Duration::from_millis(self.config.reconnect_wait_ms), &stop.turn).await;
            }
            ended.cancel();
        };
        tokio::join!(working, self.keep_claim(&redrive, &stop, &ended));
    }

    /// Renews the claim until the work has ended; a lost or cancelled one stops the work, and so does the end of its turn.
    async fn keep_claim(&self, redrive: &Claimed, stop: &Stop, ended: &CancellationToken) {
        let turn_ends_at = Instant::now() + Duration::from_millis(self.config.turn_ms);
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                () = tokio::time::sleep(self.claim_ttl() / 5) => {}
            }
            let kept = sqlx::query(include_str!("keep.sql"))
                .bind(redrive.redrive_id)
                .bind(&redrive.worker)
                .bind(self.claim_ttl().as_secs_f64())
                .execute(&self.pool)
                .await;
            match kept {
                Ok(kept) if kept.rows_affected() == 0 => stop.now.cancel(),
                Ok(_) if Instant::now() < turn_ends_at => {}
                Ok(_) => match self.others_wait().await {
                    Ok(true) => stop.turn.cancel(),
                    Ok(false) => {}
                    Err(error) => debug!(redrive_id = %redrive.redrive_id, %error, "others could not be looked for"),
                },
                // Whoever takes it over marks under the same locks; until then the work goes on.
                Err(error) => debug!(redrive_id = %redrive.redrive_id, %error, "claim not renewed"),
            }
        }
    }

    async fn others_wait(&self) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar(include_str!("others_wait.sql")).fetch_one(&self.pool).await
    }

    async fn go_through(&self, redrive: &Claimed, stop: &Stop) -> Result<(), sqlx::Error> {
        let pace = Pace::new(redrive.rate_per_second);
        while !stop.turn.is_cancelled() {
            let keys = self.waiting_keys(redrive).await?;
            if keys.is_empty() {
                return self.end(redrive).await;
            }
            stream::iter(keys.into_iter().map(Ok))
                .try_for_each_concurrent(self.config.max_keys.max(1), |key| self.key(redrive, key, &pace, stop))
                .await?;
        }
        self.release(redrive).await
    }

    /// Applies a key from its first undelivered message to its last.
    async fn key(&self, redrive: &Claimed, key: Key, pace: &Pace, stop: &Stop) -> Result<(), sqlx::Error> {
        let Some(handler) = self.handlers.get(key.consumer.as_str()) else {
            let reason = format!("there is no handler of consumer {} where redrives are carried out", key.consumer);
            return self.end_key(redrive, &key, Some(reason)).await;
        };
        let mut retries = 0;
        loop {
            if !pace.turn(stop.after(retries)).await {
                return Ok(());
            }
            match self.apply_next(redrive, &key, handler.as_ref(), &stop.now).await? {
                Step::Delivered => retries = 0,
                Step::NothingLeft => {
                    pace.give_back();
                    return self.end_key(redrive, &key, None).await;
                }
                Step::Stopped { for_now: true, .. } if retries < self.config.max_retries => {
                    let doubled = self.config.retry_pause_ms.saturating_mul(1 << retries.min(20));
                    pause(Duration::from_millis(doubled), &stop.now).await;
                    retries += 1;
                }
                Step::Stopped { at, .. } => {
                    let reason = format!("dead letter {}: {}", at.id, at.reason);
                    return self.end_key(redrive, &key, Some(reason)).await;
                }
                Step::OtherCause(cause) => {
                    let reason = format!("the next message is dead of another cause: {cause}");
                    return self.end_key(redrive, &key, Some(reason)).await;
                }
            }
        }
    }

    /// Cancels `stop` where the redrive was cancelled or taken over meanwhile.
    async fn apply_next(
        &self,
        redrive: &Claimed,
        key: &Key,
        handler: &dyn Handler,
        stop: &CancellationToken,
    ) -> Result<Step, sqlx::Error> {
        let place = Place {
            waiting_key: key.waiting_key.as_deref(),
            letter_id: key.first_letter_id,
            only_cause: redrive.cause.as_deref(),
        };
        let mut transaction = self.pool.begin().await?;
        let step = apply_first(&mut transaction, handler, &place, &redrive.started_by).await?;
        if let Step::Delivered = step {
            let is_still_ours: Option<bool> = sqlx::query_scalar(include_str!("count_delivered.sql"))
                .bind(redrive.redrive_id)
                .bind(key.first_letter_id)
                .bind(&redrive.worker)
                .fetch_optional(&mut *transaction)
                .await?;
            if is_still_ours != Some(true) {
                stop.cancel();
            }
        }
        transaction.commit().await?;
        Ok(step)
    }

    async fn waiting_keys(&self, redrive: &Claimed) -> Result<Vec<Key>, sqlx::Error> {
        sqlx::query_as(include_str!("waiting_keys.sql"))
            .bind(redrive.redrive_id)
            .bind(KEYS_AT_ONCE)
            .fetch_all(&self.pool)
            .await
    }

    async fn end_key(&self, redrive: &Claimed, key: &Key, stopped: Option<String>) -> Result<(), sqlx::Error> {
        sqlx::query(include_str!("end_key.sql"))
            .bind(redrive.redrive_id)
            .bind(key.first_letter_id)
            .bind(if stopped.is_some() { "stopped" } else { "done" })
            .bind(stopped.as_deref().map(storable_reason))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn end(&self, redrive: &Claimed) -> Result<(), sqlx::Error> {
        sqlx::query(include_str!("end.sql")).bind(redrive.redrive_id).bind(&redrive.worker).execute(&self.pool).await?;
        info!(redrive_id = %redrive.redrive_id, "redrive ended");
        Ok(())
    }

    /// Another need not wait until the claim has run out. It takes its place behind those that wait.
    async fn release(&self, redrive: &Claimed) -> Result<(), sqlx::Error> {
        sqlx::query(include_str!("release.sql"))
            .bind(redrive.redrive_id)
            .bind(&redrive.worker)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

/// Lets so many through a second, whoever asks.
struct Pace {
    interval: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    fn new(rate_per_second: i32) -> Pace {
        let rate = u32::try_from(rate_per_second).unwrap_or(1).max(1);
        Pace { interval: Duration::from_secs(1) / rate, next: Mutex::new(Instant::now()) }
    }

    /// False where `stop` came first: nobody's turn is later for it.
    async fn turn(&self, stop: &CancellationToken) -> bool {
        let turn = self.next_turn(Instant::now());
        let is_ours = stop.run_until_cancelled(tokio::time::sleep_until(turn)).await.is_some();
        if !is_ours {
            self.give_back();
        }
        is_ours
    }

    fn next_turn(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).max(now.checked_sub(PACE_CREDIT).unwrap_or(now));
        *next = turn + self.interval;
        turn
    }

    /// The turn was not needed.
    fn give_back(&self) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next = next.checked_sub(self.interval).unwrap_or(*next);
    }
}

async fn pause(wait: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = stop.cancelled() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_lets_so_many_through_a_second_whoever_asks() {
        let (pace, now) = (Pace::new(50), Instant::now());
        let turns: Vec<Instant> = (0..100).map(|_| pace.next_turn(now)).collect();
        assert!(turns.iter().filter(|turn| **turn <= now + Duration::from_secs(1)).count() <= 51);
        assert!(turns[99] >= now + Duration::from_millis(1_900));
    }

    #[tokio::test]
    async fn those_who_are_stopped_take_nobody_s_turn() {
        let (pace, stop) = (Pace::new(1), CancellationToken::new());
        stop.cancel();
        let first = Instant::now() - PACE_CREDIT;
        for _ in 0..100 {
            assert!(!pace.turn(&stop).await);
        }
        assert!(pace.next_turn(Instant::now()) < first + Duration::from_secs(60));
    }

    #[test]
    fn who_comes_late_may_hurry_but_not_make_up_for_all_of_it() {
        let (pace, now) = (Pace::new(100), Instant::now());
        let later = now + Duration::from_secs(10);
        let at_once = (0..100).filter(|_| pace.next_turn(later) <= later).count();
        assert_eq!(at_once, 11, "a tenth of a second's worth, and the turn that is due");
    }
}
