//! What a Prometheus exporter beside the broker says of it: one in its process (the JMX exporter, any client library's
//! process collector) or one of its machine (node_exporter).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Usage;

const TIMEOUT: Duration = Duration::from_secs(3);
/// node_exporter's text has a few hundred kilobytes; an address that answers more is something else.
const MAX_BYTES: usize = 8 * 1024 * 1024;

pub struct Exporter {
    url: String,
    client: reqwest::Client,
    /// So that a failure that lasts is one line.
    has_failed: AtomicBool,
}

impl Exporter {
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), client: reqwest::Client::new(), has_failed: AtomicBool::new(false) }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub async fn usage(&self) -> Usage {
        match self.fetch().await {
            Ok(text) => {
                self.has_failed.store(false, Ordering::Relaxed);
                read(&text)
            }
            Err(error) => {
                if !self.has_failed.swap(true, Ordering::Relaxed) {
                    tracing::warn!(url = self.url, error = %format!("{error:#}"), "the broker's exporter does not answer");
                }
                Usage { cpu_seconds: None, memory_bytes: None }
            }
        }
    }

    async fn fetch(&self) -> anyhow::Result<String> {
        let mut answer = self.client.get(&self.url).timeout(TIMEOUT).send().await?.error_for_status()?;
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            text.extend_from_slice(&chunk);
            anyhow::ensure!(text.len() <= MAX_BYTES, "it answers more than {MAX_BYTES} bytes");
        }
        Ok(String::from_utf8(text)?)
    }
}

/// The machine's figures where there are any, since the process's are the exporter's own then; else the process's.
fn read(text: &str) -> Usage {
    let samples: Vec<Sample> = text.lines().filter_map(Sample::read).collect();
    let sum = |name: &str, counts: &dyn Fn(&Sample) -> bool| {
        let of_name = samples.iter().filter(|sample| sample.name == name && counts(sample));
        of_name.map(|sample| sample.value).reduce(|sum, value| sum + value)
    };
    let all = |_: &Sample| true;
    let busy = |sample: &Sample| !["mode=\"idle\"", "mode=\"iowait\""].iter().any(|mode| sample.labels.contains(mode));
    let taken = || Some(sum("node_memory_MemTotal_bytes", &all)? - sum("node_memory_MemAvailable_bytes", &all)?);
    Usage {
        cpu_seconds: sum("node_cpu_seconds_total", &busy).or_else(|| sum("process_cpu_seconds_total", &all)),
        memory_bytes: taken().or_else(|| sum("process_resident_memory_bytes", &all)),
    }
}

/// A line `name{labels} value` of the text format; a time stamp may follow.
struct Sample<'a> {
    name: &'a str,
    labels: &'a str,
    value: f64,
}

impl<'a> Sample<'a> {
    /// `None` for a comment, and for what is no sample.
    fn read(line: &'a str) -> Option<Self> {
        let series_end = line.rfind('}').map_or_else(|| line.find(' '), |end| Some(end + 1))?;
        let (series, rest) = line.split_at(series_end);
        let (name, labels) = series.split_at(series.find('{').unwrap_or(series.len()));
        let value = rest.split_whitespace().next()?.parse().ok()?;
        (!name.starts_with('#')).then_some(Self { name, labels, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_says_what_it_uses() {
        let text = "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 12.5 1700000000000\n\
            process_resident_memory_bytes 1.5e9\nprocess_cpu_seconds_total_of_something_else 1\n";
        assert_eq!(read(text), Usage { cpu_seconds: Some(12.5), memory_bytes: Some(1.5e9) });
    }

    #[test]
    fn a_machine_says_what_is_used_of_it_and_what_its_exporter_uses_does_not_count() {
        let text = "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 900\nnode_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 10\n\
            node_cpu_seconds_total{cpu=\"1\",mode=\"system\"} 5\nnode_cpu_seconds_total{cpu=\"1\",mode=\"iowait\"} 70\n\
            node_memory_MemTotal_bytes 8e9\nnode_memory_MemAvailable_bytes 6e9\n\
            process_cpu_seconds_total 0.2\nprocess_resident_memory_bytes 2e7\n";
        assert_eq!(read(text), Usage { cpu_seconds: Some(15.0), memory_bytes: Some(2e9) });
    }

    #[test]
    fn what_it_does_not_say_is_unknown() {
        assert_eq!(read("rocketmq_throughput_in_total 5\n"), Usage { cpu_seconds: None, memory_bytes: None });
    }
}
