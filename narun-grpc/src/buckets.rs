use std::time::Duration;

use async_nats::jetstream::stream::{Config, StorageType};

use crate::convert::LONGEST;

/// How buckets are made, which is when something is first put into one. Those that are there stay as they are.
///
/// ```
/// use std::time::Duration;
/// use narun_grpc::BucketSettings;
///
/// let settings = BucketSettings::new().history(5).max_age(Duration::from_secs(24 * 60 * 60)).replicas(3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct BucketSettings {
    history: u8,
    max_age: Duration,
    memory: bool,
    replicas: u8,
}

impl BucketSettings {
    /// The defaults.
    pub const fn new() -> Self {
        Self { history: 1, max_age: Duration::ZERO, memory: false, replicas: 1 }
    }

    /// How many values of a key are kept, 1 to 64; more or less is as the next of these. Object buckets have none.
    /// Default 1.
    pub fn history(mut self, values: u8) -> Self {
        self.history = values.clamp(1, 64);
        self
    }

    /// After what time values and pieces of objects go, 100 ms or more; with zero they stay, which is the default. For
    /// objects it should be much longer than reading one takes.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age.min(LONGEST);
        self
    }

    /// Whether they are kept in memory, to be lost with the server. Default false: on disk.
    pub const fn memory(mut self, memory: bool) -> Self {
        self.memory = memory;
        self
    }

    /// On how many servers of a cluster they are kept, 1 to 5; more or less is as the next of these. Default 1.
    pub fn replicas(mut self, replicas: u8) -> Self {
        self.replicas = replicas.clamp(1, 5);
        self
    }

    pub(crate) const fn values(&self) -> i64 {
        self.history as i64
    }

    /// A bucket's stream, kept like this.
    pub(crate) fn apply(&self, config: Config) -> Config {
        Config {
            max_age: self.max_age,
            storage: if self.memory { StorageType::Memory } else { StorageType::File },
            num_replicas: self.replicas.into(),
            ..config
        }
    }
}

impl Default for BucketSettings {
    fn default() -> Self {
        Self::new()
    }
}
