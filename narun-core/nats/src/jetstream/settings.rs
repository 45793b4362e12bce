use std::time::Duration;

/// Settings of a namespace in JetStream: of the streams of durable requests and dead letters, and of the buckets of
/// outcomes and large bodies.
///
/// A missing stream or bucket is created with these settings. One that exists is checked and never changed: a difference
/// that breaks a guarantee is an error, other differences are logged.
///
/// Each stream and bucket has a limit in bytes, and they refuse what is beyond it. nats-server reserves these bytes, 704
/// MiB in all by default, times the replicas, and refuses to create a stream that does not fit the limits of the server
/// or of the account. By default, the server's limit is three quarters of the free disk.
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
    pub(crate) max_bytes: u64,
    pub(crate) bodies_max_bytes: u64,
    pub(crate) outcomes_max_bytes: u64,
    pub(crate) dead_letters_max_bytes: u64,
    pub(crate) max_age: Option<Duration>,
    pub(crate) duplicate_window: Duration,
    pub(crate) outcome_ttl: Duration,
    pub(crate) declare: bool,
    pub(crate) domain: Option<String>,
}

/// Where a stream keeps its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Storage {
    /// On disk. Survives a restart of the server.
    #[default]
    File,
    /// In memory. Lost with the server, unless there are replicas.
    Memory,
}

const MIB: u64 = 1024 * 1024;

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
            max_bytes: 256 * MIB,
            bodies_max_bytes: 256 * MIB,
            outcomes_max_bytes: 128 * MIB,
            dead_letters_max_bytes: 64 * MIB,
            max_age: None,
            duplicate_window: Duration::from_secs(120),
            outcome_ttl: Duration::from_secs(24 * 60 * 60),
            declare: true,
            domain: None,
        }
    }

    /// Where messages are kept. Default [`Storage::File`].
    pub const fn storage(mut self, storage: Storage) -> Self {
        self.storage = storage;
        self
    }

    /// The number of servers in a cluster that keep each message, 1 to 5. Default 1: durable delivery stops while that server
    /// is down.
    pub const fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// The most requests that wait. Further requests get a 503. Default: no limit.
    pub const fn max_messages(mut self, messages: u64) -> Self {
        self.max_messages = Some(messages);
        self
    }

    /// The most bytes of requests that wait, with their fields and the bodies that fit a message. Further requests get a
    /// 503. Default 256 MiB; `u64::MAX` means no limit.
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The most bytes of bodies that do not fit a message, of requests that wait and of dead letters. Further ones get a
    /// 503. Default 256 MiB; `u64::MAX` means no limit.
    pub const fn bodies_max_bytes(mut self, bytes: u64) -> Self {
        self.bodies_max_bytes = bytes;
        self
    }

    /// The most bytes of outcomes. Further requests that need an outcome get a 503, until outcomes
    /// [expire](Self::outcome_ttl). Default 128 MiB; `u64::MAX` means no limit.
    pub const fn outcomes_max_bytes(mut self, bytes: u64) -> Self {
        self.outcomes_max_bytes = bytes;
        self
    }

    /// The most bytes of dead letters, without bodies that do not fit a message. Further ones stay in the stream of
    /// requests. Default 64 MiB; `u64::MAX` means no limit.
    pub const fn dead_letters_max_bytes(mut self, bytes: u64) -> Self {
        self.dead_letters_max_bytes = bytes;
        self
    }

    /// The age at which the server drops a waiting request. Accepted work is lost then. Default: never.
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// How long the server recognises a request that is published twice, at most as long as messages are kept. Default
    /// 2 minutes.
    pub const fn duplicate_window(mut self, window: Duration) -> Self {
        self.duplicate_window = window;
        self
    }

    /// How long outcomes are kept after their last change, at least as long as the duplicate window. Default 24 hours.
    pub const fn outcome_ttl(mut self, ttl: Duration) -> Self {
        self.outcome_ttl = ttl;
        self
    }

    /// The JetStream domain of the streams and buckets, if it is not that of the server that the client is connected to, such
    /// as that of the hub of a leaf node. Default: that of the server.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Whether to create missing streams, buckets and consumers. If false, a missing one is an error. Default true.
    pub const fn declare(mut self, declare: bool) -> Self {
        self.declare = declare;
        self
    }
}
