//! A tenant's key-value and object buckets.

use async_nats::jetstream::stream::{Config, Info};
use tonic::{Code, Status};

use crate::call::MethodCall;
use crate::status::{self, if_found};

impl MethodCall<'_> {
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
