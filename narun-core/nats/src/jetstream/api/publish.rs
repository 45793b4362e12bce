use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishAckFuture;
use bytes::Bytes;
use tokio::time::timeout;

use super::{Api, ApiError};
use crate::nats_events::DenialWatch;

/// A message that was sent and may not be stored.
pub(in crate::jetstream) struct PendingMessage {
    ack: PublishAckFuture,
    subject: String,
    /// The denials since before it was sent.
    denials: DenialWatch,
}

impl Api<Context> {
    /// Publishes to a stream; returns the sequence number once the message is stored.
    pub(in crate::jetstream) async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<u64, ApiError> {
        let message = self.start_publish(subject, headers, payload).await?;
        self.stored(message).await
    }

    /// Publishes to a stream; [`stored`](Self::stored) waits until the message is stored.
    pub(in crate::jetstream) async fn start_publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<PendingMessage, ApiError> {
        let denials = self.denials.renewed();
        let sending = self.requester.publish_with_headers(subject.clone(), headers, payload);
        let ack = timeout(self.limit, sending).await.map_err(|_| ApiError::TimedOut(self.limit))??;
        Ok(PendingMessage { ack, subject, denials })
    }

    /// Waits until a message is stored; returns its sequence number.
    pub(in crate::jetstream) async fn stored(&self, message: PendingMessage) -> Result<u64, ApiError> {
        let PendingMessage { ack, subject, mut denials } = message;
        let stored = tokio::select! {
            biased;
            stored = timeout(self.limit, ack.into_future()) => stored,
            denied = denials.publish_denied(&subject) => return Err(denied.into()),
        };
        Ok(stored.map_err(|_| ApiError::TimedOut(self.limit))??.sequence)
    }
}
