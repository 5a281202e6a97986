//! Whatever the order of requests, messages, callbacks and deadlines, and however often each comes: I2, I3, I4, I6 and I8
//! hold after every step.
//!
//! Each case is one ticket type with a few orders, and draws its steps from a seed: requests and repeats of them under the
//! same key, messages in any order, late and again, callbacks and repeats, deadlines that have come and those that somebody
//! read before they were taken away. The cases of a wave take their steps side by side on one ledger, so that one append
//! carries many; after each round one reader folds what was written, and each case is judged.
//!
//! A case that breaks something is its own shortest prefix, and is printed with how to run it again alone.

mod case;
mod chance;
mod floor;
mod invariants;
mod world;

use std::collections::BTreeSet;
use std::ops::Range;

use domain::OrderStatus;
use futures_util::future::join_all;

use case::Case;
use floor::{Broken, Floor, Reader};

/// How many short cases are tried.
const CASES: &str = "INTERLEAVING_CASES";
const DEFAULT_CASES: u32 = 10_000;
const STEPS: usize = 12;
/// Fewer, and each goes on for long.
const LONG_CASES: u32 = 40;
const LONG_STEPS: usize = 120;

const SEED: &str = "INTERLEAVING_SEED";
const DEFAULT_SEED: u64 = 20_231_225;
/// Runs this case alone, with the given seed.
const ONLY_CASE: &str = "INTERLEAVING_CASE";

const CASES_AT_ONCE: u32 = 1_000;
/// Rounds within which all that was to come must have come.
const SETTLING_ROUNDS: usize = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_invariants_hold_after_every_step_of_ten_thousand_interleavings() {
    let ends = run(setting(CASES).unwrap_or(DEFAULT_CASES), STEPS, Then::Stop).await;
    // Else the cases have not tried what they are for.
    for status in OrderStatus::ALL {
        assert!(setting::<u32>(CASES).is_some() || ends.contains(&status), "no order was left at {status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_interleavings_come_to_an_end_when_nothing_new_happens() {
    let ends = run(LONG_CASES, LONG_STEPS, Then::Settle).await;
    for end in OrderStatus::ALL.into_iter().filter(|status| status.is_terminal()) {
        assert!(ends.contains(&end), "no order ended {end}");
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    Stop,
    Settle,
}

/// Runs cases in waves, and gives every status that an order was left at.
async fn run(cases: u32, steps: usize, then: Then) -> BTreeSet<OrderStatus> {
    let seed = setting(SEED).unwrap_or(DEFAULT_SEED);
    let floor = Floor::open().await;
    if let Some(only) = setting::<u32>(ONLY_CASE) {
        return run_wave(&floor, seed, only..only + 1, steps, then).await;
    }
    let mut ends = BTreeSet::new();
    for first in (0..cases).step_by(CASES_AT_ONCE as usize) {
        ends.extend(run_wave(&floor, seed, first..cases.min(first + CASES_AT_ONCE), steps, then).await);
    }
    ends
}

async fn run_wave(floor: &Floor, seed: u64, numbers: Range<u32>, steps: usize, then: Then) -> BTreeSet<OrderStatus> {
    let mut reader = Reader::from_here(floor).await;
    let mut cases = join_all(numbers.map(|number| Case::open(floor, seed, number))).await;
    let outcome = live(floor, &mut reader, &mut cases, steps, then).await;
    if let Err((case, broken)) = outcome {
        panic!("{}", report(seed, &cases[case], &broken));
    }
    floor.clear().await;
    cases.iter().flat_map(|case| case.world.orders.iter().map(|life| life.status())).collect()
}

async fn live(
    floor: &Floor,
    reader: &mut Reader<'_>,
    cases: &mut [Case],
    steps: usize,
    then: Then,
) -> Result<(), Broken> {
    judge(reader, cases).await?;
    for _ in 0..steps {
        first_broken(join_all(cases.iter_mut().map(|case| case.step(floor))).await)?;
        judge(reader, cases).await?;
    }
    if then == Then::Stop {
        return Ok(());
    }
    for round in 0..SETTLING_ROUNDS {
        if cases.iter().all(Case::is_settled) {
            break;
        }
        first_broken(join_all(cases.iter_mut().map(|case| case.settle(floor, round))).await)?;
        judge(reader, cases).await?;
    }
    first_broken(cases.iter().map(invariants::nothing_hangs))
}

async fn judge(reader: &mut Reader<'_>, cases: &mut [Case]) -> Result<(), Broken> {
    reader.read(cases).await?;
    first_broken(cases.iter().map(Case::judge))
}

fn first_broken(outcomes: impl IntoIterator<Item = Result<(), String>>) -> Result<(), Broken> {
    outcomes.into_iter().enumerate().try_for_each(|(case, outcome)| outcome.map_err(|broken| (case, broken)))
}

fn report(seed: u64, case: &Case, broken: &str) -> String {
    let mut report = format!("case {} of seed {seed} breaks at step {}: {broken}\n", case.number, case.history.len());
    for (number, step) in (1..).zip(&case.history) {
        report.push_str(&format!("  {number}. {step:?}\n"));
    }
    report.push_str(&format!("to run it alone: {SEED}={seed} {ONLY_CASE}={}", case.number));
    report
}

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}
