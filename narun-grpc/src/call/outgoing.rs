//! Messages that clients publish to NATS.

use std::collections::BTreeMap;

use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use tonic::Status;

use crate::call::MethodCall;
use crate::convert::{header_length, publish_subject, reply_subject};
use crate::status::OrStatus;

/// A checked message, in the tenant's names.
pub(crate) struct Outgoing {
    subject: Subject,
    reply: Option<String>,
    headers: Option<HeaderMap>,
    payload: Bytes,
}

impl MethodCall<'_> {
    pub(crate) fn subject(&self, subject: &str) -> Result<Subject, Status> {
        publish_subject(self.tenant(), subject).map(Subject::from)
    }

    /// Checks a client's message. Fails if a name or a header is invalid, or if it is larger than the server takes.
    pub(crate) fn outgoing(
        &self,
        subject: Subject,
        reply_to: &str,
        headers: &BTreeMap<String, String>,
        payload: Bytes,
    ) -> Result<Outgoing, Status> {
        let reply = reply_subject(self.tenant(), &subject, reply_to)?;
        let headers = self.headers(headers)?;
        self.check_payload_size(header_length(headers.as_ref()) + payload.len())?;
        Ok(Outgoing { subject, reply, headers, payload })
    }

    pub(crate) async fn send(&self, message: Outgoing) -> Result<(), Status> {
        let client = self.connection().client();
        let Outgoing { subject, reply, headers, payload } = message;
        let size = payload.len();
        // A stream of the tenant may store it.
        self.check_stored_message(&subject, header_length(headers.as_ref()) + size).await?;
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
