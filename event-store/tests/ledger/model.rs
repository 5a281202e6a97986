//! Whatever is submitted, in whatever batches: the answers and the states are those of carrying the commands out one by
//! one.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use event_store::{CommandError, Ledger, LedgerConfig};
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::support::{Database, Tally, TallyCommand, command, key, message};

const STREAMS: usize = 4;
const KEYS: usize = 12;

#[derive(Debug, Clone)]
struct Step {
    /// What to add where, up to which limit.
    additions: Vec<(usize, u32, u32)>,
    key: Option<usize>,
    mishap: Mishap,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mishap {
    None,
    Panics,
    BringsBadData,
}

#[derive(Debug, PartialEq, Clone, Copy)]
enum Outcome {
    Done,
    Rejected,
    Duplicate,
    Invalid,
    Bug,
}

fn step() -> impl Strategy<Value = Step> {
    let addition = (0..STREAMS, 1..4u32, prop_oneof![3 => Just(u32::MAX), 1 => 5..60u32]);
    let mishap = prop_oneof![30 => Just(Mishap::None), 1 => Just(Mishap::Panics), 1 => Just(Mishap::BringsBadData)];
    let key = prop::option::of(0..KEYS);
    (prop::collection::vec(addition, 1..3), key, mishap).prop_map(|(additions, key, mishap)| Step {
        additions,
        key,
        mishap,
    })
}

#[derive(Default)]
struct Model {
    totals: [u64; STREAMS],
    keys: HashSet<usize>,
}

impl Model {
    /// The outcomes it may have. A mishap under a key that was used before may be told as either: decided beside a repeat
    /// that has no effect in the end, the step may be rejected for that time, and then only its key counts.
    fn carry_out(&mut self, step: &Step) -> Vec<Outcome> {
        let mut totals = self.totals;
        let is_rejected = step.additions.iter().any(|&(stream, by, limit)| {
            let total = totals[stream] + u64::from(by);
            let is_over = total > u64::from(limit) && limit != u32::MAX;
            totals[stream] = if is_over { totals[stream] } else { total };
            is_over
        });
        let is_repeat = step.key.is_some_and(|key| self.keys.contains(&key));
        match step.mishap {
            Mishap::Panics if !is_rejected && is_repeat => return vec![Outcome::Bug, Outcome::Duplicate],
            Mishap::Panics if !is_rejected => return vec![Outcome::Bug],
            Mishap::BringsBadData if !is_rejected && is_repeat => return vec![Outcome::Invalid, Outcome::Duplicate],
            Mishap::BringsBadData if !is_rejected => return vec![Outcome::Invalid],
            _ if is_repeat => return vec![Outcome::Duplicate],
            _ if is_rejected => return vec![Outcome::Rejected],
            _ => {}
        }
        self.totals = totals;
        self.keys.extend(step.key);
        vec![Outcome::Done]
    }
}

#[test]
fn batches_have_the_effects_of_single_commands() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(Database::new());
    let next_case = Cell::new(0);
    let cases = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    let strategy = (prop::collection::vec(step(), 1..120), prop_oneof![Just(1usize), Just(3), Just(16), Just(512)]);
    TestRunner::new(cases)
        .run(&strategy, |(steps, max_batch_commands)| {
            let case = next_case.replace(next_case.get() + 1);
            runtime.block_on(check(&database, case, steps, max_batch_commands));
            Ok(())
        })
        .unwrap();
    runtime.block_on(database.assert_sound());
}

async fn check(database: &Database, case: usize, steps: Vec<Step>, max_batch_commands: usize) {
    let mut model = Model::default();
    let expected: Vec<Vec<Outcome>> = steps.iter().map(|step| model.carry_out(step)).collect();

    let ledger =
        database.ledger_with(LedgerConfig { max_batch_commands, max_wait_ms: 120_000, ..Default::default() }).await;
    let outcomes = join_all(steps.iter().map(|step| submit(&ledger, case, step.clone()))).await;

    let differing: HashMap<usize, _> = (0..steps.len())
        .filter(|&n| !expected[n].contains(&outcomes[n]))
        .map(|n| (n, (&steps[n], outcomes[n], &expected[n])))
        .collect();
    assert!(differing.is_empty(), "step, actual, expected: {differing:#?}");
    for (stream, total) in model.totals.into_iter().enumerate() {
        assert_eq!(ledger.load::<Tally>(&stream_of(case, stream)).await.unwrap().state.total, total);
    }
    ledger.close().await;
}

fn submit(ledger: &Ledger, case: usize, step: Step) -> impl Future<Output = Outcome> + use<> {
    let mut declared = command();
    for &(stream, ..) in &step.additions {
        declared = declared.cached::<Tally>(&stream_of(case, stream));
    }
    if let Some(number) = step.key {
        declared = declared.unique(key(&format!("{case}/{number}")));
    }
    let answer = ledger.submit(declared, move |unit| {
        for &(stream, by, limit) in &step.additions {
            let add = if limit == u32::MAX { TallyCommand::Add { by } } else { TallyCommand::AddUpTo { by, limit } };
            unit.handle::<Tally>(&stream_of(case, stream), add)?;
        }
        match step.mishap {
            Mishap::None => Ok(()),
            Mishap::Panics => panic!("as the test wants it"),
            Mishap::BringsBadData => unit.publish(message("\0")),
        }
    });
    async move {
        match answer.await {
            Ok(_) => Outcome::Done,
            Err(CommandError::Rejected(_)) => Outcome::Rejected,
            Err(CommandError::Duplicate(_)) => Outcome::Duplicate,
            Err(CommandError::Invalid { .. }) => Outcome::Invalid,
            Err(CommandError::Bug(_)) => Outcome::Bug,
            Err(other) => panic!("{other}"),
        }
    }
}

fn stream_of(case: usize, stream: usize) -> String {
    format!("{case}-{stream}")
}
