//! Publish, PublishBatch, Request and Unsubscribe.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::{HeaderMap, StatusCode, Subject};
use bytes::Bytes;
use futures::StreamExt;
use tokio::time::timeout;
use tonic::Status;

use crate::call::{Call, Unary};
use crate::convert::{filter_subject, header_length, patience, publish_subject, reply_subject};
use crate::random::token;
use crate::status::{self, OrStatus};
use crate::{Method, pb};

/// How long Request waits if it does not say.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A message that can be published.
struct Outgoing {
    subject: Subject,
    reply: Option<String>,
    headers: Option<HeaderMap>,
    payload: Bytes,
}

impl Call<'_> {
    fn subject(&self, subject: &str) -> Result<Subject, Status> {
        publish_subject(self.tenant(), subject).map(Subject::from)
    }

    /// Checks a client's message.
    fn outgoing(
        &self,
        subject: Subject,
        reply_to: &str,
        headers: &BTreeMap<String, String>,
        payload: Bytes,
    ) -> Result<Outgoing, Status> {
        let reply = reply_subject(self.tenant(), &subject, reply_to)?;
        let headers = self.shared.headers(headers)?;
        self.fits(header_length(headers.as_ref()) + payload.len())?;
        Ok(Outgoing { subject, reply, headers, payload })
    }

    /// Whether the NATS server takes this many bytes of headers and payload.
    pub(crate) fn fits(&self, size: usize) -> Result<(), Status> {
        match self.connection().client().max_payload() {
            limit if size > limit => Err(status::too_large(size, limit)),
            _ => Ok(()),
        }
    }

    async fn send(&self, message: Outgoing) -> Result<(), Status> {
        let client = self.connection().client();
        let Outgoing { subject, reply, headers, payload } = message;
        let size = payload.len();
        // One of the tenant's streams may store it.
        self.room_for(size).await?;
        match (reply, headers) {
            (None, None) => client.publish(subject, payload).await,
            (None, Some(headers)) => client.publish_with_headers(subject, headers, payload).await,
            (Some(reply), None) => client.publish_with_reply(subject, reply, payload).await,
            (Some(reply), Some(headers)) => {
                client.publish_with_reply_and_headers(subject, reply, headers, payload).await
            }
        }
        .or_status()?;
        self.received(1, size);
        Ok(())
    }
}

/// A client's subject, and what it is to NATS.
type Named = Option<(String, Subject)>;

impl Call<'_> {
    /// Sends a message of a batch. Mostly it has the subject of the one before, which was checked already.
    async fn send_next(&self, message: pb::NatsMessage, before: &mut Named) -> Result<(), Status> {
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

    async fn run(self, call: &Call<'_>) -> Result<pb::PublishResponse, Status> {
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

    async fn run(self, call: &Call<'_>) -> Result<pb::PublishBatchResponse, Status> {
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

impl Unary for pb::RequestRequest {
    const METHOD: Method = Method::Request;
    type Response = pb::RequestResponse;

    fn patience(&self) -> Duration {
        patience(self.timeout.as_ref(), REQUEST_TIMEOUT)
    }

    async fn run(self, call: &Call<'_>) -> Result<pb::RequestResponse, Status> {
        let wait = self.patience().min(call.time_to_wait());
        // Within the tenant's own subjects, so that a subscriber can answer with a Publish.
        let inbox = format!("_INBOX.{}", token());
        let message = call.outgoing(call.subject(&self.subject)?, &inbox, &BTreeMap::new(), self.data)?;
        call.connection().mark()?;
        let client = call.connection().client();
        let mut answers = client.subscribe(publish_subject(call.tenant(), &inbox)?).await.or_status()?;
        call.send(message).await?;
        let error_message = match timeout(wait, answers.next()).await {
            Ok(Some(answer)) if answer.status == Some(StatusCode::NO_RESPONDERS) => "nobody listens",
            Ok(Some(answer)) => {
                call.sent(1, answer.payload.len());
                return Ok(pb::RequestResponse { success: true, data: answer.payload, ..Default::default() });
            }
            Ok(None) => return Err(status::disconnected()),
            Err(_) => "no answer in time",
        };
        Ok(pb::RequestResponse { error_message: error_message.to_owned(), ..Default::default() })
    }
}

impl Unary for pb::UnsubscribeRequest {
    const METHOD: Method = Method::Unsubscribe;
    type Response = pb::UnsubscribeResponse;

    async fn run(self, call: &Call<'_>) -> Result<pb::UnsubscribeResponse, Status> {
        let subject = filter_subject(call.tenant(), &self.subject)?;
        let mark = call.connection().mark()?;
        call.connection().live().await?.end(&subject).await?;
        call.connection().confirm(mark).await?;
        Ok(pb::UnsubscribeResponse { success: true })
    }
}
