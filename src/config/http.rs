//! The REST interface: where it listens, who may call, and what it bounds.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::bounds::{invalid, positive};
use super::secrets::mask_secret;

/// The console takes a stream that is silent for 45 s for broken.
const MAX_HEARTBEAT_MS: u64 = 30_000;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    pub listen: SocketAddr,
    /// Where the payment provider reaches the callback; none: the listen address.
    pub public_url: Option<String>,
    pub max_body_bytes: usize,
    pub request_timeout_ms: u64,
    /// Requests worked on at once; more are answered 503 early.
    pub max_concurrent_requests: usize,
    /// Requests of one user a second, in the long run; more are answered 429. None: no limit.
    pub rate_limit_per_second: Option<u32>,
    /// How many of them may come at once after a pause.
    pub rate_limit_burst: u32,
    /// Streams of server-sent events open at once; more are answered 503 early.
    pub max_update_streams: usize,
    /// How often a silent stream of updates says that it is alive.
    pub update_heartbeat_ms: u64,
    /// Events that `?at=` folds for somebody who is not staff; what needs more is answered 422.
    pub max_past_events: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            max_body_bytes: 64 * 1024,
            request_timeout_ms: 15_000,
            max_concurrent_requests: 1_024,
            rate_limit_per_second: None,
            rate_limit_burst: 50,
            max_update_streams: 1_000,
            update_heartbeat_ms: 15_000,
            max_past_events: 50_000,
        }
    }
}

impl HttpConfig {
    pub(super) fn validate(&self) -> Result<(), String> {
        positive(
            u64::from(u32::MAX),
            &[
                ("http.max_body_bytes", self.max_body_bytes as u64),
                ("http.max_concurrent_requests", self.max_concurrent_requests as u64),
                ("http.rate_limit_per_second", self.rate_limit_per_second.unwrap_or(1).into()),
                ("http.rate_limit_burst", self.rate_limit_burst.into()),
                ("http.max_update_streams", self.max_update_streams as u64),
                ("http.max_past_events", self.max_past_events),
            ],
        )?;
        positive(3_600_000, &[("http.request_timeout_ms", self.request_timeout_ms)])?;
        positive(MAX_HEARTBEAT_MS, &[("http.update_heartbeat_ms", self.update_heartbeat_ms)])
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// Signs and checks bearer tokens (HS256), at least 32 bytes. Needed by `serve` and `token`.
    pub token_key: Option<String>,
}

impl AuthConfig {
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.token_key.as_ref().is_some_and(|key| key.len() < 32) {
            return Err(invalid("auth.token_key", "must be at least 32 bytes"));
        }
        Ok(())
    }

    pub(super) fn mask(&mut self) {
        mask_secret(&mut self.token_key);
    }
}
