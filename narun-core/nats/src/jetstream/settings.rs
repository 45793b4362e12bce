use std::time::Duration;

/// Settings of what a namespace keeps in JetStream: the stream of durable requests, that of dead letters, and the
/// buckets of outcomes and large bodies.
///
/// What is missing is declared with these settings. What exists is checked: a difference that breaks a guarantee is
/// an error, and nothing is ever changed.
///
/// ```
/// use std::time::Duration;
/// use narun_nats::jetstream::{Storage, StreamSettings};
///
/// let settings = StreamSettings::new().replicas(3).max_bytes(10 << 30).outcome_ttl(Duration::from_secs(3600));
/// assert_eq!(settings.clone().storage(Storage::File), settings);
/// assert_ne!(settings, StreamSettings::default());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct StreamSettings {
    pub(crate) storage: Storage,
    pub(crate) replicas: usize,
    pub(crate) max_messages: Option<u64>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) duplicate_window: Duration,
    pub(crate) outcome_ttl: Duration,
    pub(crate) declare: bool,
}

/// Where a stream keeps its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Storage {
    /// On disk: survives a restart of the server.
    #[default]
    File,
    /// In memory: lost with the server, unless there are replicas.
    Memory,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamSettings {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            storage: Storage::File,
            replicas: 1,
            max_messages: None,
            max_bytes: None,
            max_age: None,
            duplicate_window: Duration::from_secs(120),
            outcome_ttl: Duration::from_secs(24 * 60 * 60),
            declare: true,
        }
    }

    /// Where messages are kept. Default [`Storage::File`].
    pub const fn storage(mut self, storage: Storage) -> Self {
        self.storage = storage;
        self
    }

    /// On how many servers of a cluster, 1 to 5. Default 1: an outage of that server stops durable delivery.
    pub const fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// How many requests wait at most; further ones are answered 503. Default: no limit.
    pub const fn max_messages(mut self, messages: u64) -> Self {
        self.max_messages = Some(messages);
        self
    }

    /// How many bytes of requests wait at most; further ones are answered 503. Default: no limit.
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// After what time the server drops a request that nobody has done: accepted work is lost then. Default: never.
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// For how long the server recognises a request that was published twice; never longer than messages are kept.
    /// Default 2 minutes.
    pub const fn duplicate_window(mut self, window: Duration) -> Self {
        self.duplicate_window = window;
        self
    }

    /// For how long outcomes are kept, counted from their last change; never shorter than the server recognises what was
    /// published twice. Default 24 hours.
    pub const fn outcome_ttl(mut self, ttl: Duration) -> Self {
        self.outcome_ttl = ttl;
        self
    }

    /// Whether to declare what is missing. Default true; without it, what is missing is an error.
    pub const fn declare(mut self, declare: bool) -> Self {
        self.declare = declare;
        self
    }
}
