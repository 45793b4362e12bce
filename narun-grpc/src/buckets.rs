use std::time::Duration;

use async_nats::jetstream::stream::{Config, Info, StorageType, Stream};
use tonic::{Code, Status};

use crate::call::Call;
use crate::convert::LONGEST;
use crate::methods::streams::if_found;
use crate::{Connection, status};

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

impl Connection {
    /// A bucket's stream, to be asked directly.
    pub(crate) async fn bucket(&self, stream: &str) -> Result<Stream<()>, Status> {
        let stream = self.jetstream()?.get_stream_no_info(stream).await;
        stream.map_err(|_| Status::invalid_argument("a bucket that NATS does not take"))
    }
}

impl Call<'_> {
    /// Whether there is a bucket of this stream, as was found some seconds ago at most.
    ///
    /// What is sent to one that is not there may go to somebody who listens to everything, and is never answered then.
    pub(crate) async fn has_bucket(&self, stream: &str) -> Result<bool, Status> {
        self.connection().mark()?;
        if self.connection().verified().subjects(stream).is_some() {
            return Ok(true);
        }
        let info = self.connection().stream_info(stream).await;
        let Some(info) = if_found(info)? else { return Ok(false) };
        self.connection().verified().add(stream, &info.config.subjects);
        Ok(true)
    }

    /// As [`has_bucket`](Self::has_bucket), as of now: for what does not tell a missing bucket from other failures.
    pub(crate) async fn has_bucket_now(&self, stream: &str) -> Result<bool, Status> {
        self.connection().verified().remove(stream);
        self.has_bucket(stream).await
    }

    /// Makes a bucket, unless there are as many of the tenant's as there may be.
    pub(crate) async fn make_bucket(&self, config: &Config) -> Result<(), Status> {
        // Boxed, as it is rare, and would make every call that stores larger.
        if let Some(limit) = self.space.quotas.buckets
            && Box::pin(self.count_buckets()).await? >= limit
        {
            return Err(status::over_quota("buckets", limit));
        }
        match self.connection().api::<Info>(format!("STREAM.CREATE.{}", config.name), config).await {
            // Somebody else has just made it, otherwise than this would have.
            Err(status) if status.code() == Code::AlreadyExists => Ok(()),
            made => made.map(drop),
        }
    }
}
