//! The broker as metrics: whether it answers, and what it takes of its machine. What can't be known is NaN, never 0.
//!
//! Whether it answers, and how full its disk is, it is asked itself. What it takes of processor and memory is read from the
//! process where `up` started it, else from a Prometheus exporter beside it, where one is configured. The bytes are counted
//! where they are sent and received: `rocketmq`.

mod exporter;
mod process;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use messaging::Broker;
use metrics::{Unit, describe_gauge, gauge};

use crate::config::Config;
use crate::instance::Instance;
use exporter::Exporter;

const UP: &str = "ledger_broker_up";
const CPU: &str = "ledger_broker_cpu_ratio";
const MEMORY: &str = "ledger_broker_memory_bytes";
const DISK: &str = "ledger_broker_disk_used_ratio";
/// Stands for all of them: 1 while at least one answers.
const ANY: &str = "any";
/// A broker that hangs must not keep the others from being asked.
const BROKER_TIMEOUT: Duration = Duration::from_secs(5);

/// Has the series there from the start, unknown.
pub fn register() {
    describe_gauge!(UP, "1 while the broker answers, 0 while it does not; \"any\" is 1 while at least one does");
    describe_gauge!(CPU, "Processor time the brokers use, 1 is one core");
    describe_gauge!(MEMORY, Unit::Bytes, "Resident memory of the brokers");
    describe_gauge!(DISK, "Used part of the disk that the messages are on, of the fullest");
    gauge!(UP, "broker" => ANY).set(f64::NAN);
    for name in [CPU, MEMORY, DISK] {
        gauge!(name).set(f64::NAN);
    }
}

/// Measures the broker until it is dropped.
pub async fn report(broker: Arc<dyn Broker>, config: Config) {
    let mut watch = BrokerWatch::new(broker, &config);
    let every = Duration::from_millis(config.metrics.broker_interval_ms);
    loop {
        let started = Instant::now();
        watch.step().await;
        // Asking must not become part of what makes the broker slow.
        tokio::time::sleep(every.max(started.elapsed() * 4)).await;
    }
}

/// What one source says the broker has used so far.
#[derive(Debug, Clone, PartialEq)]
struct Usage {
    /// Processor time since the process, or the machine, began.
    cpu_seconds: Option<f64>,
    memory_bytes: Option<f64>,
}

struct BrokerWatch {
    broker: Arc<dyn Broker>,
    data_dir: PathBuf,
    name_server: Option<String>,
    exporters: Vec<Exporter>,
    /// Every broker that was ever heard of.
    names: BTreeSet<String>,
    processor: ProcessorTime,
}

impl BrokerWatch {
    fn new(broker: Arc<dyn Broker>, config: &Config) -> Self {
        Self {
            broker,
            data_dir: config.data_dir().to_path_buf(),
            name_server: config.rocketmq.name_server.clone(),
            exporters: config.metrics.broker_exporter_urls().into_iter().map(Exporter::new).collect(),
            names: BTreeSet::new(),
            processor: ProcessorTime::default(),
        }
    }

    async fn step(&mut self) {
        let is_reachable = within(self.broker.is_reachable()).await.unwrap_or(false);
        gauge!(UP, "broker" => ANY).set(f64::from(u8::from(is_reachable)));
        let mut fullest = None;
        let statuses = within(self.broker.statuses()).await.unwrap_or_default();
        // Of those that nothing was heard of in time nothing is known.
        for silent in self.names.iter().filter(|name| statuses.iter().all(|status| status.name != **name)) {
            gauge!(UP, "broker" => silent.clone()).set(f64::NAN);
        }
        for status in statuses {
            self.names.insert(status.name.clone());
            gauge!(UP, "broker" => status.name).set(f64::from(u8::from(status.is_up)));
            fullest = [fullest, status.disk_used_ratio].into_iter().flatten().reduce(f64::max);
        }
        gauge!(DISK).set(fullest.unwrap_or(f64::NAN));
        self.show_usage(self.usage().await);
    }

    fn show_usage(&mut self, usage: HashMap<String, Usage>) {
        let memory = usage.values().map(|usage| usage.memory_bytes);
        gauge!(MEMORY).set(sum_of_all(memory).unwrap_or(f64::NAN));
        gauge!(CPU).set(self.processor.ratio(&usage, Instant::now()).unwrap_or(f64::NAN));
    }

    /// By source. Empty: nothing is known of the machine.
    async fn usage(&self) -> HashMap<String, Usage> {
        if let Some(pid) = self.own_pid() {
            let usage = tokio::task::spawn_blocking(move || process::usage(pid)).await.ok().flatten();
            return usage.map(|usage| (format!("process {pid}"), usage)).into_iter().collect();
        }
        let asked = self.exporters.iter().map(|exporter| async { (exporter.url().to_owned(), exporter.usage().await) });
        futures_util::future::join_all(asked).await.into_iter().collect()
    }

    /// Of the broker that `up` runs here, if it is the one in use. It is another one after each restart.
    fn own_pid(&self) -> Option<u32> {
        let instance = Instance::find(&self.data_dir)?;
        let is_ours = self.name_server.as_ref() == Some(&instance.name_server);
        is_ours.then(|| instance.pids.get("rocketmq").copied()).flatten()
    }
}

async fn within<T>(answer: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(BROKER_TIMEOUT, answer).await.ok()
}

/// `None` when any of them is unknown, or there is none: a part is not the whole.
fn sum_of_all(parts: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let parts: Vec<f64> = parts.collect::<Option<_>>()?;
    (!parts.is_empty()).then(|| parts.iter().sum())
}

/// How fast processor time goes by, from what it was at the look before.
#[derive(Default)]
struct ProcessorTime {
    before: HashMap<String, (Instant, f64)>,
}

impl ProcessorTime {
    /// Of all sources together. Unknown at the first look, and after a source began anew.
    fn ratio(&mut self, usage: &HashMap<String, Usage>, now: Instant) -> Option<f64> {
        let seen = usage.iter().filter_map(|(source, usage)| Some((source.clone(), (now, usage.cpu_seconds?))));
        let before = std::mem::replace(&mut self.before, seen.collect());
        let rate = |source: &String, usage: &Usage| {
            let (then, seconds_then) = before.get(source)?;
            let (elapsed, used) = (now.duration_since(*then).as_secs_f64(), usage.cpu_seconds? - seconds_then);
            (elapsed > 0.0 && used >= 0.0).then(|| used / elapsed)
        };
        sum_of_all(usage.iter().map(|(source, usage)| rate(source, usage)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(sources: &[(&str, f64)]) -> HashMap<String, Usage> {
        let usage = |seconds| Usage { cpu_seconds: Some(seconds), memory_bytes: Some(1.0) };
        sources.iter().map(|(source, seconds)| ((*source).to_owned(), usage(*seconds))).collect()
    }

    #[test]
    fn the_processor_ratio_is_known_from_the_second_look_on() {
        let (mut time, start) = (ProcessorTime::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);

        assert_eq!(time.ratio(&used(&[("a", 100.0), ("b", 7.0)]), at(0)), None);
        assert_eq!(time.ratio(&used(&[("a", 105.0), ("b", 17.0)]), at(10)), Some(1.5));
        assert_eq!(time.ratio(&used(&[("a", 0.5), ("b", 17.0)]), at(20)), None, "a began anew");
        assert_eq!(time.ratio(&used(&[("a", 5.5), ("b", 17.0)]), at(30)), Some(0.5));
    }

    #[test]
    fn a_part_of_the_brokers_is_not_all_of_them() {
        let (mut time, start) = (ProcessorTime::default(), Instant::now());
        let mut usage = used(&[("a", 1.0), ("b", 1.0)]);
        time.ratio(&usage, start);
        usage.insert("b".into(), Usage { cpu_seconds: None, memory_bytes: None });

        assert_eq!(time.ratio(&usage, start + Duration::from_secs(1)), None);
        assert_eq!(sum_of_all(usage.values().map(|usage| usage.memory_bytes)), None);
        assert_eq!(sum_of_all(std::iter::empty()), None, "nothing known is not 0");
    }
}
