//! The broker, its producers and its consumer groups, under the words RocketMQ has for them.

use serde::{Deserialize, Serialize};

use super::bounds::{between, invalid, positive};
use super::secrets::mask_secret;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RocketMqSection {
    /// `host:port;host:port`; none: the broker that `up` runs.
    pub name_server: Option<String>,
    /// Whom the brokers' access control knows us as; none: they let everybody in. Both keys or neither.
    pub access_key: Option<String>,
    pub secret_key: Option<String>,
    pub producer: ProducerSection,
    pub consumer: ConsumerGroupSection,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProducerSection {
    pub group: String,
    pub send_message_timeout_ms: u64,
    pub retry_times_when_send_failed: u32,
    /// Bytes.
    pub max_message_size: usize,
}

impl Default for ProducerSection {
    fn default() -> Self {
        Self {
            group: "ticket-producer-group".into(),
            send_message_timeout_ms: 3_000,
            retry_times_when_send_failed: 2,
            max_message_size: 4_194_304,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsumerGroupSection {
    /// The groups are `<group>-<consumer>`.
    pub group: String,
    /// How many messages a processor that calls others (payment, sms, email) works on side by side when few wait. The
    /// other processors decide in the ledger's group commit, in which threads have no part.
    pub consume_thread_min: usize,
    /// The same when many wait.
    pub consume_thread_max: usize,
    /// Most messages a consumer takes into one transaction.
    pub consume_message_batch_max_size: usize,
}

impl Default for ConsumerGroupSection {
    fn default() -> Self {
        Self {
            group: "ticket-consumer-group".into(),
            consume_thread_min: 5,
            consume_thread_max: 20,
            consume_message_batch_max_size: 512,
        }
    }
}

impl RocketMqSection {
    pub(super) fn validate(&self) -> Result<(), String> {
        if let Some(servers) = &self.name_server
            && !servers.split(';').all(is_host_port)
        {
            return Err(invalid("rocketmq.name_server", "must be host:port, several separated by ';'"));
        }
        if self.access_key.is_some() != self.secret_key.is_some() {
            return Err(invalid("rocketmq.secret_key", "and rocketmq.access_key are set together"));
        }
        self.producer.validate()?;
        self.consumer.validate()
    }

    pub(super) fn mask(&mut self) {
        mask_secret(&mut self.secret_key);
    }
}

impl ProducerSection {
    fn validate(&self) -> Result<(), String> {
        group_name("rocketmq.producer.group", &self.group)?;
        positive(u64::from(u32::MAX), &[("rocketmq.producer.max_message_size", self.max_message_size as u64)])?;
        // A minute a try and a dozen tries: what is beyond is a slip of the unit.
        positive(60_000, &[("rocketmq.producer.send_message_timeout_ms", self.send_message_timeout_ms)])?;
        between("rocketmq.producer.retry_times_when_send_failed", self.retry_times_when_send_failed.into(), 0, 16)
    }
}

impl ConsumerGroupSection {
    fn validate(&self) -> Result<(), String> {
        group_name("rocketmq.consumer.group", &self.group)?;
        if self.consume_thread_max < self.consume_thread_min {
            return Err(invalid("rocketmq.consumer.consume_thread_max", "must not be below consume_thread_min"));
        }
        let batch_max_size = self.consume_message_batch_max_size as u64;
        positive(1_000, &[("rocketmq.consumer.consume_thread_min", self.consume_thread_min as u64)])?;
        positive(10_000, &[("rocketmq.consumer.consume_message_batch_max_size", batch_max_size)])
    }
}

/// As RocketMQ has it, with room for the consumer's name.
fn group_name(key: &str, group: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    match (1..=200).contains(&group.len()) && group.bytes().all(allowed) {
        true => Ok(()),
        false => Err(invalid(key, "must be 1 to 200 letters, digits, '-' or '_'")),
    }
}

fn is_host_port(server: &str) -> bool {
    server.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0))
}
