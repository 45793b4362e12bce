use std::num::NonZeroU32;
use std::time::Duration;

use super::value::{Seconds, given};

/// What the HTTP server in front of a gateway permits its clients. The gateway is no server: the program applies them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    keep_alive: Duration,
    head_timeout: Duration,
    max_connections: u32,
    max_streams: u32,
}

impl ServerLimits {
    /// `keep_alive_seconds`: how long a connection may stay open without a request. Default 75 s.
    pub const fn keep_alive(&self) -> Duration {
        self.keep_alive
    }

    /// `head_timeout_seconds`: how long the head of a request may take, and a new connection until the end of its first one.
    /// Default 30 s.
    pub const fn head_timeout(&self) -> Duration {
        self.head_timeout
    }

    /// `max_connections`: how many connections may be open at the same time. Default 16,384.
    pub const fn max_connections(&self) -> u32 {
        self.max_connections
    }

    /// `max_streams`: how many requests an HTTP/2 connection may have in flight. Default 200.
    pub const fn max_streams(&self) -> u32 {
        self.max_streams
    }
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(75),
            head_timeout: Duration::from_secs(30),
            max_connections: 16_384,
            max_streams: 200,
        }
    }
}

/// The keys of `server`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerKeys {
    #[serde(default, deserialize_with = "given")]
    keep_alive_seconds: Option<Seconds>,
    #[serde(default, deserialize_with = "given")]
    head_timeout_seconds: Option<Seconds>,
    #[serde(default, deserialize_with = "given")]
    max_connections: Option<NonZeroU32>,
    #[serde(default, deserialize_with = "given")]
    max_streams: Option<NonZeroU32>,
}

impl From<ServerKeys> for ServerLimits {
    fn from(keys: ServerKeys) -> Self {
        let default = Self::default();
        Self {
            keep_alive: keys.keep_alive_seconds.map_or(default.keep_alive, Duration::from),
            head_timeout: keys.head_timeout_seconds.map_or(default.head_timeout, Duration::from),
            max_connections: keys.max_connections.map_or(default.max_connections, u32::from),
            max_streams: keys.max_streams.map_or(default.max_streams, u32::from),
        }
    }
}
