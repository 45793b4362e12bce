//! A tenant's key-value and object buckets.

use async_nats::jetstream::stream::{Config, Info};
use tonic::{Code, Status};

use crate::call::MethodCall;
use crate::status::if_found;

impl MethodCall<'_> {
    /// Whether the bucket with this stream exists. Looks it up unless that was done within the last seconds.
    ///
    /// A message to a bucket that does not exist may reach a subscriber of all subjects, and is never acknowledged.
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

    /// As [`has_bucket`](Self::has_bucket), but always looks it up: for requests that report a missing bucket as other
    /// failures.
    pub(crate) async fn has_bucket_now(&self, stream: &str) -> Result<bool, Status> {
        self.connection().verified().remove(stream);
        self.has_bucket(stream).await
    }

    /// Creates a bucket. Fails if the tenant has reached its quota of buckets.
    pub(crate) async fn make_bucket(&self, config: &Config) -> Result<(), Status> {
        let _creating = self.tally.creating().await;
        // Boxed: it is rare, and would make the future of every storing call larger.
        let (made, checked) = (self.has_bucket_now(&config.name), self.check_buckets(&config.name));
        // Another call may have created it, and counted it, meanwhile.
        if Box::pin(made).await? {
            return Ok(());
        }
        Box::pin(checked).await?;
        match self.connection().api::<Info>(format!("STREAM.CREATE.{}", config.name), config).await {
            // Another client has just created it, with another configuration.
            Err(status) if status.code() == Code::AlreadyExists => Ok(()),
            made => made.map(drop),
        }
    }
}
