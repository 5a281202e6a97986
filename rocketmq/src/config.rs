//! How to reach RocketMQ, and the bounds of every call to it.

use std::time::Duration;

/// Settings of the adapter, each with a [`Default`].
#[derive(Debug, Clone)]
pub struct RocketMqConfig {
    /// `host:port`, several separated by `;`.
    pub name_server: String,
    /// None: the brokers let everybody in.
    pub credentials: Option<Credentials>,
    pub producer_group: String,
    /// Bound on one attempt of one send.
    pub send_message_timeout_ms: u64,
    /// Attempts after the first one, each with a client that did not fail before.
    pub retry_times_when_send_failed: u32,
    /// A message with its properties; the broker's own limit must not be lower.
    pub max_message_size_bytes: usize,
    /// A batch is sent in several calls above this size.
    pub max_batch_bytes: usize,
    /// Bound on an administrative call, and on the start of a client.
    pub request_timeout_ms: u64,
    /// How long a topic that exists may be missing from the route before a send gives up.
    pub route_wait_ms: u64,
    /// Pause between two attempts to reach a broker that failed.
    pub reconnect_pause_ms: u64,
    /// Messages in one pull of one queue.
    pub pull_batch_size: u16,
    /// Messages a consumer holds in advance of [`messaging::Consumer::poll`], over all its queues.
    pub prefetch_messages: u32,
    /// Bound on ending a producer, a consumer or the whole adapter.
    pub close_timeout_ms: u64,
    /// Start of the clients' names, as the broker's tools show them.
    pub instance_prefix: String,
}

/// Whom the brokers' access control knows this process as.
#[derive(Clone)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl Default for RocketMqConfig {
    fn default() -> Self {
        Self {
            name_server: "127.0.0.1:9876".into(),
            credentials: None,
            producer_group: "ticket-producer-group".into(),
            send_message_timeout_ms: 3_000,
            retry_times_when_send_failed: 2,
            max_message_size_bytes: 4 * 1024 * 1024,
            max_batch_bytes: 1024 * 1024,
            request_timeout_ms: 3_000,
            route_wait_ms: 2_000,
            reconnect_pause_ms: 500,
            pull_batch_size: 32,
            prefetch_messages: 10_000,
            close_timeout_ms: 3_000,
            instance_prefix: "order-ledger".into(),
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rocketmq.{key}: {reason}")]
pub struct ConfigError {
    pub key: &'static str,
    pub reason: String,
}

impl RocketMqConfig {
    /// The name servers' addresses, each `host:port`.
    pub(crate) fn name_servers(&self) -> Vec<String> {
        self.name_server.split(';').map(str::trim).filter(|address| !address.is_empty()).map(str::to_owned).collect()
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let servers = self.name_servers();
        if servers.is_empty() {
            return Err(refuse("name_server", "is empty: give host:port, several separated by ;"));
        }
        if let Some(wrong) = servers.iter().find(|address| !is_host_and_port(address)) {
            return Err(refuse("name_server", format!("{wrong} is not host:port")));
        }
        if let Some(Credentials { access_key, secret_key }) = &self.credentials
            && (access_key.is_empty() || secret_key.is_empty())
        {
            return Err(refuse("access_key", "is given together with secret_key, and neither is empty"));
        }
        if self.producer_group.trim().is_empty() {
            return Err(refuse("producer.group", "is empty"));
        }
        if self.send_message_timeout_ms == 0 {
            return Err(refuse("producer.send_message_timeout_ms", "must be above 0"));
        }
        if self.max_message_size_bytes == 0 {
            return Err(refuse("producer.max_message_size", "must be above 0"));
        }
        if self.pull_batch_size == 0 || self.pull_batch_size > 1_024 {
            return Err(refuse("consumer.pull_batch_size", "must be from 1 to 1024"));
        }
        Ok(())
    }

    pub(crate) fn send_timeout(&self) -> Duration {
        Duration::from_millis(self.send_message_timeout_ms)
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub(crate) fn reconnect_pause(&self) -> Duration {
        Duration::from_millis(self.reconnect_pause_ms)
    }

    pub(crate) fn close_timeout(&self) -> Duration {
        Duration::from_millis(self.close_timeout_ms)
    }
}

fn refuse(key: &'static str, reason: impl Into<String>) -> ConfigError {
    ConfigError { key, reason: reason.into() }
}

fn is_host_and_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn with_name_server(name_server: &str) -> RocketMqConfig {
        RocketMqConfig { name_server: name_server.into(), ..RocketMqConfig::default() }
    }

    #[test]
    fn several_name_servers_are_separated_by_semicolons() {
        let config = with_name_server("a.example:9876; b.example:9876;");

        config.validate().unwrap();
        assert_eq!(config.name_servers(), ["a.example:9876", "b.example:9876"]);
    }

    #[test]
    fn a_wrong_name_server_is_refused_with_its_key() {
        for wrong in ["", ";", "localhost", "localhost:", ":9876", "localhost:99999", "a:1;b"] {
            let error = with_name_server(wrong).validate().unwrap_err().to_string();
            assert!(error.starts_with("rocketmq.name_server: "), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_secret_key_is_never_printed() {
        let credentials = Credentials { access_key: "ledger".into(), secret_key: "hunter2".into() };
        let config = RocketMqConfig { credentials: Some(credentials), ..RocketMqConfig::default() };

        config.validate().unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn half_of_the_credentials_is_refused() {
        let credentials = Credentials { access_key: "ledger".into(), secret_key: String::new() };
        let config = RocketMqConfig { credentials: Some(credentials), ..RocketMqConfig::default() };

        assert_eq!(config.validate().unwrap_err().key, "access_key");
    }
}
