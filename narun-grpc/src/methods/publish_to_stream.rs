//! PublishToStream.

use std::time::SystemTime;

use async_nats::header::NATS_EXPECTED_STREAM;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use tonic::Status;

use crate::call::{MethodCall, Unary};
use crate::convert::{header_length, publish_subject, saturating, timestamp};
use crate::status::OrStatus;
use crate::{Method, pb};

impl Unary for pb::PublishToStreamRequest {
    const METHOD: Method = Method::PublishToStream;
    type Response = pb::PublishToStreamResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::PublishToStreamResponse, Status> {
        let subject = publish_subject(call.tenant(), &self.subject)?;
        let mut headers = call.headers(&self.headers)?.unwrap_or_default();
        let stream = call.stream_of(&self.stream_name, &subject).await?;
        headers.insert(NATS_EXPECTED_STREAM, stream.as_str());
        let size = self.data.len();
        let size_in_all = header_length(Some(&headers)) + size;
        call.check_payload_size(size_in_all)?;
        call.check_stored_message(&subject, size_in_all).await?;
        call.connection().mark()?;
        let message = PublishMessage::build().payload(self.data).headers(headers);
        let ack = call.connection().jetstream()?.send_publish(subject.clone(), message).await.or_status()?;
        let ack = match ack.await {
            Err(error) if error.kind() == PublishErrorKind::StreamNotFound => {
                call.connection().verified().remove(&stream);
                return Err(call.unanswered_publish(&self.stream_name, &subject).await);
            }
            result => result.or_status()?,
        };
        call.received(1, size);
        Ok(pb::PublishToStreamResponse {
            success: true,
            sequence: saturating(ack.sequence),
            timestamp: Some(timestamp(SystemTime::now())),
            message: if ack.duplicate { "duplicate".to_owned() } else { String::new() },
        })
    }
}
