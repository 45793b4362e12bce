use async_nats::jetstream::Context;
use async_nats::{Message, Request};
use bytes::Bytes;

use super::ApiError;

/// Sends requests and receives the replies.
///
/// Implemented by the JetStream context of async-nats, and by the multiplexer of narun-grpc. The context keeps an entry for
/// each request without a reply; the multiplexer drops it with the future, as clients decide how many requests there are.
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
