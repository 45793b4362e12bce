use std::time::Duration;

/// Settings of a [`Caller`](super::Caller).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallerConfig {
    /// Whether the request's method is idempotent: the request may be sent again although it may have been executed
    /// (RFC 9110, section 9.2.2). Default false.
    pub idempotent: bool,
    /// Time until the response's head must have arrived. It starts again whenever the streamed body of the request makes
    /// progress. Default 15 s.
    pub head_timeout: Duration,
    /// Time until the whole exchange must be over. Default `None`: unlimited.
    pub total_timeout: Option<Duration>,
    /// Time without any frame after which an idempotent request is sent again, once. Default 1 s.
    pub silence: Duration,
    /// Time without any frame of a consumer after which the exchange fails, before the response's head. With a long
    /// [`CallerConfig::head_timeout`], the head may take as long as the consumer sends WORKING. Default `None`: unlimited.
    pub idle: Option<Duration>,
    /// Time that a lost connection may take to be restored. Also the time in which an absent consumer does not count as gone,
    /// because its own connection may be lost: after the connection was restored, and after a frame to the consumer first met
    /// "no responders". Meanwhile it receives PROBE ten times, or every 500 ms if that is more often. Default 5 s.
    pub grace: Duration,
    /// How many times a refused request is sent again. Default 3.
    pub resends: u8,
    /// Shortest and longest backoff before a refused request is sent again. Each backoff is drawn evenly between them.
    /// Default 5 to 50 ms.
    pub backoff: (Duration, Duration),
    /// The credit for the response's body that the REQUEST grants, as an offset in bytes. Default 0.
    pub credit: u64,
}

impl Default for CallerConfig {
    fn default() -> Self {
        Self {
            idempotent: false,
            head_timeout: Duration::from_secs(15),
            total_timeout: None,
            silence: Duration::from_secs(1),
            idle: None,
            grace: Duration::from_secs(5),
            resends: 3,
            backoff: (Duration::from_millis(5), Duration::from_millis(50)),
            credit: 0,
        }
    }
}
