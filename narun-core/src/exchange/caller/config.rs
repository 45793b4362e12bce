use std::time::Duration;

/// Settings of a [`Caller`].
#[derive(Clone, Copy, Debug)]
pub struct CallerConfig {
    /// Whether the request's method allows sending it again although it may have been executed (RFC 9110 9.2.2).
    /// Default false.
    pub idempotent: bool,
    /// Until the response head must be there; counted anew whenever a streamed request's body moves on. Default 15 s.
    pub head_timeout: Duration,
    /// Until everything must be over. Default none.
    pub total_timeout: Option<Duration>,
    /// How long an idempotent request waits for any sign of life before it is sent again, once. Default 1 s.
    pub silence: Duration,
    /// How long nothing at all may be heard of a consumer before the response's head, which so may take as long as its
    /// consumer says that it is at work. Default none.
    pub idle: Option<Duration>,
    /// How long an answer is waited for after the connection was lost, and consumers once it is back, as theirs may
    /// have been lost too. Default 2 s.
    pub grace: Duration,
    /// How often a refused request is sent again. Default 3.
    pub resends: u8,
    /// Shortest and longest pause before that; the pause is drawn evenly between them. Default 5 to 50 ms.
    pub pause: (Duration, Duration),
    /// The credit for the response's body that the REQUEST gave. Default 0.
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
            grace: Duration::from_secs(2),
            resends: 3,
            pause: (Duration::from_millis(5), Duration::from_millis(50)),
            credit: 0,
        }
    }
}
