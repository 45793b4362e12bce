use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishAckFuture;
use bytes::Bytes;
use tokio::time::timeout;

use super::{Api, ApiError};

impl Api<Context> {
    /// Publishes to a stream; returns the sequence number once the message is stored.
    pub(in crate::jetstream) async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<u64, ApiError> {
        let ack = self.start_publish(subject, headers, payload).await?;
        self.stored(ack).await
    }

    /// Publishes to a stream; the returned future completes once the message is stored.
    pub(in crate::jetstream) async fn start_publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<PublishAckFuture, ApiError> {
        let sent = timeout(self.limit, self.requester.publish_with_headers(subject, headers, payload)).await;
        Ok(sent.map_err(|_| ApiError::TimedOut(self.limit))??)
    }

    /// Waits until a message is stored; returns its sequence number.
    pub(in crate::jetstream) async fn stored(&self, ack: PublishAckFuture) -> Result<u64, ApiError> {
        let stored = timeout(self.limit, ack.into_future()).await;
        Ok(stored.map_err(|_| ApiError::TimedOut(self.limit))??.sequence)
    }
}
