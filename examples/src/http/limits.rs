use std::time::Duration;

/// What an HTTP server permits its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// How long a connection may stay open without a request. Default 75 s, as in nginx.
    pub keep_alive: Duration,
    /// How long the head of a request may take, and a new connection until the end of its first one. Default 30 s.
    pub head: Duration,
    /// How many connections are open at the same time; further ones wait until another has closed. Default 16,384.
    pub connections: usize,
    /// How many requests an HTTP/2 connection may have in flight. Default 200.
    pub streams: u32,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(75),
            head: Duration::from_secs(30),
            connections: 16_384,
            streams: 200,
        }
    }
}
