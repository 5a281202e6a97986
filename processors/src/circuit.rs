//! Leaves a dependency alone that does not answer, and finds out with single calls when it does again.
//!
//! The crates that offer this let every caller through once the pause is over; here one call finds out and the others
//! are refused until it has, so that a provider that is coming back is not met by all who waited for it.

mod board;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::{describe_gauge, gauge};

pub use board::CircuitBoard;

/// When to leave a dependency alone, and for how long.
#[derive(Debug, Clone)]
pub struct CircuitConfig {
    /// So many failures in a row open the circuit.
    pub failure_threshold: u32,
    /// How long nobody tries once it is open.
    pub open_ms: u64,
}

impl Default for CircuitConfig {
    fn default() -> Self {
        Self { failure_threshold: 5, open_ms: 10_000 }
    }
}

/// Whether a dependency answers, as far as this process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    Closed,
    /// One call is under way that will tell.
    HalfOpen,
    Open,
}

/// A circuit breaker. Cheap to ask: it only counts.
#[derive(Debug)]
pub struct Circuit {
    config: CircuitConfig,
    phase: Mutex<Phase>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing,
}

/// The circuit is open: the call was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("left alone after repeated failures")]
pub struct CircuitOpen;

/// The right to make one call. Say how it went; a pass that is dropped says nothing.
#[derive(Debug)]
pub struct Pass<'a> {
    circuit: &'a Circuit,
    is_probe: bool,
}

impl Circuit {
    /// A closed circuit.
    pub fn new(config: CircuitConfig) -> Self {
        Self { config, phase: Mutex::new(Phase::Closed { failures: 0 }) }
    }

    /// Lets a call through, or not.
    pub fn admit(&self) -> Result<Pass<'_>, CircuitOpen> {
        self.admit_at(Instant::now())
    }

    /// How long the circuit stays open once it opens.
    pub fn pause(&self) -> Duration {
        Duration::from_millis(self.config.open_ms)
    }

    fn admit_at(&self, now: Instant) -> Result<Pass<'_>, CircuitOpen> {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        match *phase {
            Phase::Closed { .. } => Ok(Pass { circuit: self, is_probe: false }),
            Phase::Open { until } if now >= until => {
                *phase = Phase::Probing;
                Ok(Pass { circuit: self, is_probe: true })
            }
            Phase::Open { .. } | Phase::Probing => Err(CircuitOpen),
        }
    }

    /// The new phase where the state changed with it.
    fn change(&self, next: impl FnOnce(Phase) -> Option<Phase>) -> Option<CircuitState> {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        let before = phase.state();
        *phase = next(*phase)?;
        Some(phase.state()).filter(|after| *after != before)
    }
}

impl Phase {
    fn state(self) -> CircuitState {
        match self {
            Phase::Closed { .. } => CircuitState::Closed,
            Phase::Open { .. } => CircuitState::Open,
            Phase::Probing => CircuitState::HalfOpen,
        }
    }
}

impl Pass<'_> {
    /// Whether this call decides if the circuit closes.
    pub fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// The dependency answered. Says in which state the circuit is now, if that changed.
    pub fn worked(mut self) -> Option<CircuitState> {
        let is_probe = std::mem::take(&mut self.is_probe);
        self.circuit.change(|phase| match phase {
            Phase::Probing if !is_probe => None,
            // A call from before it opened proves nothing.
            Phase::Open { .. } => None,
            Phase::Closed { .. } | Phase::Probing => Some(Phase::Closed { failures: 0 }),
        })
    }

    /// The dependency did not answer. Says in which state the circuit is now, if that changed.
    pub fn failed(self) -> Option<CircuitState> {
        self.failed_at(Instant::now())
    }

    fn failed_at(mut self, now: Instant) -> Option<CircuitState> {
        let is_probe = std::mem::take(&mut self.is_probe);
        let failure_threshold = self.circuit.config.failure_threshold;
        let open = Phase::Open { until: now + self.circuit.pause() };
        self.circuit.change(|phase| match phase {
            Phase::Closed { failures } if failures + 1 < failure_threshold => {
                Some(Phase::Closed { failures: failures + 1 })
            }
            Phase::Closed { .. } => Some(open),
            Phase::Probing if is_probe => Some(open),
            Phase::Probing | Phase::Open { .. } => None,
        })
    }
}

/// A probe that was cancelled leaves the question to the next call.
impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.circuit.change(|_| Some(Phase::Open { until: Instant::now() }));
        }
    }
}

const STATE: &str = "ledger_circuit_state";

/// Puts the gauge of a dependency there, not yet known.
pub fn register_metrics(dependency: &'static str) {
    describe_gauge!(STATE, "0 closed, 1 half open, 2 open");
    gauge!(STATE, "dependency" => dependency).set(f64::NAN);
}

/// Shows the state of a dependency's circuit.
pub fn show(dependency: &'static str, state: CircuitState) {
    let value = match state {
        CircuitState::Closed => 0.0,
        CircuitState::HalfOpen => 1.0,
        CircuitState::Open => 2.0,
    };
    gauge!(STATE, "dependency" => dependency).set(value);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    const PAUSE: Duration = Duration::from_millis(1_000);

    /// A circuit that opened at the given time, after three failures in a row.
    fn opened(at: Instant) -> Circuit {
        let circuit = Circuit::new(CircuitConfig { failure_threshold: 3, open_ms: 1_000 });
        assert_eq!(circuit.admit_at(at).unwrap().failed_at(at), None);
        assert_eq!(circuit.admit_at(at).unwrap().failed_at(at), None);
        assert_eq!(circuit.admit_at(at).unwrap().failed_at(at), Some(CircuitState::Open));
        circuit
    }

    #[test]
    fn it_opens_after_so_many_failures_in_a_row_and_refuses_for_its_pause() {
        let at = Instant::now();
        let circuit = opened(at);
        assert_eq!(circuit.admit_at(at + PAUSE / 2).unwrap_err(), CircuitOpen);
        assert!(circuit.admit_at(at + PAUSE).is_ok());
    }

    #[test]
    fn a_success_in_between_starts_the_count_again() {
        let at = Instant::now();
        let circuit = Circuit::new(CircuitConfig { failure_threshold: 2, open_ms: 1_000 });
        for _ in 0..5 {
            assert_eq!(circuit.admit_at(at).unwrap().failed_at(at), None);
            assert_eq!(circuit.admit_at(at).unwrap().worked(), None);
        }
    }

    #[test]
    fn one_call_finds_out_and_the_others_wait_for_it() {
        let at = Instant::now();
        let circuit = opened(at);
        let later = at + PAUSE;
        let probe = circuit.admit_at(later).unwrap();
        assert!(probe.is_probe());
        assert_eq!(circuit.admit_at(later).unwrap_err(), CircuitOpen);
        assert_eq!(probe.failed_at(later), Some(CircuitState::Open));
        assert_eq!(circuit.admit_at(later + PAUSE / 2).unwrap_err(), CircuitOpen);
        let probe = circuit.admit_at(later + PAUSE).unwrap();
        assert_eq!(probe.worked(), Some(CircuitState::Closed));
        assert!(!circuit.admit_at(later + PAUSE).unwrap().is_probe());
    }

    #[test]
    fn a_probe_that_was_cancelled_leaves_the_question_to_the_next_call() {
        let at = Instant::now();
        let circuit = opened(at);
        drop(circuit.admit_at(at + PAUSE).unwrap());
        assert!(circuit.admit_at(Instant::now().max(at + PAUSE)).unwrap().is_probe());
    }

    #[test]
    fn what_began_before_it_opened_neither_closes_nor_prolongs_it() {
        let at = Instant::now();
        let circuit = Circuit::new(CircuitConfig { failure_threshold: 1, open_ms: 1_000 });
        let (slow, slower) = (circuit.admit_at(at).unwrap(), circuit.admit_at(at).unwrap());
        assert_eq!(circuit.admit_at(at).unwrap().failed_at(at), Some(CircuitState::Open));
        assert_eq!(slow.worked(), None);
        assert_eq!(slower.failed_at(at + PAUSE / 2), None);
        assert_eq!(circuit.admit_at(at + PAUSE / 2).unwrap_err(), CircuitOpen);
        assert!(circuit.admit_at(at + PAUSE).is_ok());
    }
}
