//! Publish and PublishBatch.

use async_nats::Subject;
use tonic::Status;

use crate::call::{MethodCall, Unary};
use crate::{Method, pb};

/// A client's subject, and the checked NATS subject.
type CheckedSubject = Option<(String, Subject)>;

impl MethodCall<'_> {
    /// Sends a message of a batch. The subject is only checked if it differs from the previous one.
    async fn send_next(&self, message: pb::NatsMessage, before: &mut CheckedSubject) -> Result<(), Status> {
        let pb::NatsMessage { subject: name, data, headers, reply_to, .. } = message;
        let subject = match before {
            Some((before, subject)) if *before == name => subject.clone(),
            _ => {
                let subject = self.subject(&name)?;
                before.insert((name, subject)).1.clone()
            }
        };
        self.send(self.outgoing(subject, &reply_to, &headers, data)?).await
    }
}

impl Unary for pb::PublishRequest {
    const METHOD: Method = Method::Publish;
    type Response = pb::PublishResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::PublishResponse, Status> {
        let subject = call.subject(&self.subject)?;
        let message = call.outgoing(subject, &self.reply_to, &self.headers, self.data)?;
        let mark = call.connection().mark()?;
        call.send(message).await?;
        call.connection().confirm(mark).await?;
        Ok(pb::PublishResponse { success: true, message: String::new() })
    }
}

impl Unary for pb::PublishBatchRequest {
    const METHOD: Method = Method::PublishBatch;
    type Response = pb::PublishBatchResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::PublishBatchResponse, Status> {
        let mark = call.connection().mark()?;
        let (mut published_count, mut errors, mut before) = (0, Vec::new(), None);
        for (index, message) in self.messages.into_iter().enumerate() {
            match call.send_next(message, &mut before).await {
                Ok(()) => published_count += 1,
                Err(status) => errors.push(format!("message {index}: {}", status.message())),
            }
        }
        if published_count > 0 {
            call.connection().confirm(mark).await?;
        }
        Ok(pb::PublishBatchResponse { success: errors.is_empty(), published_count, errors })
    }
}
