use std::time::Duration;

use async_nats::jetstream::stream::{Config, StorageType};

use crate::convert::LONGEST;

/// How buckets are created, on the first put. Existing buckets stay as they are.
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
    /// Returns the defaults.
    pub const fn new() -> Self {
        Self { history: 1, max_age: Duration::ZERO, memory: false, replicas: 1 }
    }

    /// Sets how many values of a key are kept, clamped to 1 to 64. Ignored for object buckets. Default: 1.
    pub fn history(mut self, values: u8) -> Self {
        self.history = values.clamp(1, 64);
        self
    }

    /// Sets the age at which values and chunks of objects are removed; JetStream accepts 100 ms or more. Zero, the default,
    /// keeps them. For objects it should be much longer than it takes to read one.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age.min(LONGEST);
        self
    }

    /// Sets whether buckets are kept in memory, and lost when the server stops. Default: false, on disk.
    pub const fn memory(mut self, memory: bool) -> Self {
        self.memory = memory;
        self
    }

    /// Sets the number of replicas in a cluster, clamped to 1 to 5. Default: 1.
    pub fn replicas(mut self, replicas: u8) -> Self {
        self.replicas = replicas.clamp(1, 5);
        self
    }

    pub(crate) const fn values(&self) -> i64 {
        self.history as i64
    }

    /// Applies the settings to the configuration of a bucket's stream.
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
