//! Random arrivals, failures, redrives, edits and discards: whatever their order, a key's messages are applied in the order
//! they came, none twice, and in the end each is applied or was discarded.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use messaging::Handler;
use messaging::dead_letter::redrives::runner::{RedriveConfig, RedriveRunner};
use messaging::dead_letter::redrives::{self, Selection};
use messaging::dead_letter::{self, DeadLetter, DeadLetterError, Filter};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use support::{Trouble, World};

const SEEDS: std::ops::Range<u64> = 0..8;
const STEPS: usize = 60;
const KEYS: i64 = 4;

/// What was sent and given up, to compare with what was applied.
#[derive(Default)]
struct Expected {
    sent: BTreeMap<String, Vec<i64>>,
    discarded: BTreeSet<i64>,
}

struct Chaos {
    world: World,
    random: StdRng,
    expected: Expected,
    numbers: i64,
}

#[tokio::test]
async fn whatever_happens_order_and_once_hold() {
    for seed in SEEDS {
        let mut chaos = Chaos {
            world: World::new().await,
            random: StdRng::seed_from_u64(seed),
            expected: Expected::default(),
            numbers: 0,
        };
        for _ in 0..STEPS {
            chaos.step().await;
            chaos.check(seed).await;
        }
        chaos.come_to_an_end().await;
        chaos.check(seed).await;
        chaos.check_complete(seed).await;
    }
}

impl Chaos {
    async fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..45 => self.arrive().await,
            45..60 => {
                self.world.settle().await;
            }
            60..70 => self.redrive_one().await,
            70..82 => self.redrive_many().await,
            82..90 => self.edit().await,
            _ => self.discard().await,
        }
    }

    /// A message, sometimes one that will fail a while, sometimes sent twice.
    async fn arrive(&mut self) {
        self.numbers += 1;
        let (number, order) = (self.numbers, format!("{:04}", self.random.random_range(1..=KEYS)));
        if self.random.random_bool(0.4) {
            let trouble = *[Trouble::Poison, Trouble::Failed, Trouble::Transient].choose(&mut self.random).unwrap();
            let times = self.random.random_range(1..8);
            self.world.handler.trouble(number, vec![trouble; times]);
        }
        let message_id = self.world.send(&order, number).await;
        if self.random.random_bool(0.2) {
            self.world.send_message(support::outgoing(message_id, &order, number)).await;
        }
        self.expected.sent.entry(order).or_default().push(number);
    }

    async fn redrive_one(&mut self) {
        let Some(letter) = self.any_letter().await else { return };
        dead_letter::redrive(&self.world.pool, &*self.world.handler, letter.id, "alice").await.unwrap();
    }

    /// While messages keep arriving.
    async fn redrive_many(&mut self) {
        let Some(letter) = self.any_letter().await else { return };
        let selection = match self.random.random_range(0..3) {
            0 => Selection::default(),
            1 => Selection { cause: Some(letter.cause), ..Selection::default() },
            _ => Selection { ids: vec![letter.id], ..Selection::default() },
        };
        let mut transaction = self.world.pool.begin().await.unwrap();
        match redrives::start(&mut transaction, &selection, redrives::MAX_RATE_PER_SECOND, "alice").await {
            Ok(_) => transaction.commit().await.unwrap(),
            Err(DeadLetterError::NothingToRedrive) => return,
            Err(error) => panic!("{error}"),
        }
        self.carry_out_all().await;
    }

    async fn edit(&mut self) {
        let Some(letter) = self.any_letter().await else { return };
        let mut transaction = self.world.pool.begin().await.unwrap();
        let body = String::from_utf8(letter.body.clone()).unwrap().replace("\"1.0\"", "\"1.1\"");
        dead_letter::edit(&mut transaction, letter.id, body.as_bytes(), "alice", "why not").await.unwrap();
        transaction.commit().await.unwrap();
    }

    async fn discard(&mut self) {
        let Some(letter) = self.any_letter().await else { return };
        let mut transaction = self.world.pool.begin().await.unwrap();
        dead_letter::discard(&mut transaction, letter.id, "alice", "why not").await.unwrap();
        transaction.commit().await.unwrap();
        self.expected.discarded.insert(number_of(&letter));
        self.carry_out_all().await;
    }

    /// Redrives side by side with the consumer itself.
    async fn carry_out_all(&mut self) {
        let config = RedriveConfig { retry_pause_ms: 1, max_keys: 2, ..RedriveConfig::default() };
        let handlers: [Arc<dyn Handler>; 1] = [self.world.handler.clone()];
        let runner = RedriveRunner::new(self.world.pool.clone(), handlers, config, "w".into());
        let redriving = async { while runner.step().await.unwrap() {} };
        tokio::join!(redriving, self.world.settle());
    }

    async fn come_to_an_end(&mut self) {
        self.world.handler.no_trouble();
        self.world.settle().await;
        while let Some(letter) = self.any_letter().await {
            dead_letter::redrive(&self.world.pool, &*self.world.handler, letter.id, "alice").await.unwrap();
        }
    }

    async fn any_letter(&mut self) -> Option<DeadLetter> {
        let letters = dead_letter::list(&self.world.pool, &Filter { limit: 100, ..Filter::default() }).await.unwrap();
        letters.choose(&mut self.random).cloned()
    }

    /// What was applied of a key is in the order it was sent in, and nothing is there twice.
    async fn check(&self, seed: u64) {
        for (order, sent) in &self.expected.sent {
            let applied = self.world.effects(order).await;
            let mut in_order = sent.iter();
            let holds = applied.iter().all(|number| in_order.any(|sent| sent == number));
            assert!(holds, "seed {seed}, order {order}: sent {sent:?}, applied {applied:?}");
        }
    }

    async fn check_complete(&self, seed: u64) {
        for (order, sent) in &self.expected.sent {
            let wanted: Vec<i64> =
                sent.iter().copied().filter(|number| !self.expected.discarded.contains(number)).collect();
            assert_eq!(self.world.effects(order).await, wanted, "seed {seed}, order {order}");
        }
    }
}

fn number_of(letter: &DeadLetter) -> i64 {
    let body: serde_json::Value = serde_json::from_slice(&letter.body).unwrap();
    body["data"]["orderTime"].as_i64().unwrap()
}
