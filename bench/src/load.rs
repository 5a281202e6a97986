//! Closed-loop load: each caller waits for its answer before it asks again.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How hard and how long.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub callers: usize,
    pub duration: Duration,
}

/// What one round of one contestant gave.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Calls that each caller finished: what a following round can build on.
    pub calls_by_caller: Vec<u64>,
}

/// How long each call took, and all of them together.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    of_calls: Vec<Duration>,
    elapsed: Duration,
    calls_by_caller: Vec<u64>,
}

impl Load {
    /// `call(caller, n)` says whether there was something to do; the first `false` ends that caller.
    pub async fn run<F, Fut>(self, call: F) -> Sample
    where
        F: Fn(usize, u64) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<bool>> + Send,
    {
        self.measure(call).await.sample()
    }

    /// The same, to be joined with others.
    pub(crate) async fn measure<F, Fut>(self, call: F) -> Latencies
    where
        F: Fn(usize, u64) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<bool>> + Send,
    {
        let call = Arc::new(call);
        let started = Instant::now();
        let callers: Vec<_> = (0..self.callers)
            .map(|caller| {
                let call = call.clone();
                tokio::spawn(async move { one_caller(&*call, caller, started, self.duration).await })
            })
            .collect();
        let mut of_calls = Vec::new();
        let mut calls_by_caller = Vec::new();
        for caller in callers {
            // A failed call is a failed benchmark: a figure without it would be a lie.
            match caller.await {
                Ok(Ok(own)) => {
                    calls_by_caller.push(own.len() as u64);
                    of_calls.extend(own);
                }
                Ok(Err(error)) => panic!("a call failed: {error:#}"),
                Err(error) => panic!("a caller died: {error}"),
            }
        }
        Latencies { of_calls, elapsed: started.elapsed(), calls_by_caller }
    }
}

async fn one_caller<F, Fut>(
    call: &F,
    caller: usize,
    started: Instant,
    duration: Duration,
) -> anyhow::Result<Vec<Duration>>
where
    F: Fn(usize, u64) -> Fut,
    Fut: Future<Output = anyhow::Result<bool>>,
{
    let mut latencies = Vec::with_capacity(64 * 1024);
    while started.elapsed() < duration {
        let since = Instant::now();
        if !call(caller, latencies.len() as u64).await? {
            break;
        }
        latencies.push(since.elapsed());
    }
    Ok(latencies)
}

impl Latencies {
    /// Takes those in that were measured after these.
    pub(crate) fn join(&mut self, later: Self) {
        self.of_calls.extend(later.of_calls);
        self.elapsed += later.elapsed;
        self.calls_by_caller.extend(later.calls_by_caller);
    }

    pub(crate) fn sample(mut self) -> Sample {
        self.of_calls.sort_unstable();
        let quantile = |q: f64| {
            let index = (self.of_calls.len().saturating_sub(1) as f64 * q) as usize;
            self.of_calls.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1_000.0)
        };
        Sample {
            per_second: self.of_calls.len() as f64 / self.elapsed.as_secs_f64().max(1e-6),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            calls_by_caller: self.calls_by_caller,
        }
    }
}
