use async_nats::jetstream::Context;
use async_nats::{Message, Request};
use bytes::Bytes;

use super::ApiError;

/// Sends requests and receives the replies.
///
/// Two things do: a JetStream context of the client, and the multiplexer of narun-grpc, which forgets a request once
/// nothing waits for its reply. The client never does, which matters where callers set the number of requests.
pub trait Requester: Sync {
    /// Sends a request and returns the reply to it. Needs no limit of its own.
    ///
    /// # Errors
    ///
    /// [`ApiError::NoResponders`] if nothing subscribes to the subject, or why the request cannot be sent or replied to.
    fn send(&self, subject: String, payload: Bytes)
    -> impl Future<Output = Result<Message, ApiError>> + Send;
}

impl Requester for Context {
    async fn send(&self, subject: String, payload: Bytes) -> Result<Message, ApiError> {
        // The client's own limit would begin once the request is in its queue.
        let request = Request::new().payload(payload).timeout(None);
        Ok(self.client().send_request(subject, request).await?)
    }
}
