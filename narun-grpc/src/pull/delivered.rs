use async_nats::jetstream::Message;

use crate::convert::{date, saturating, to_headers};
use crate::pb;
use crate::state::ServiceState;
use crate::tenant::Tenant;

impl ServiceState {
    /// Converts a message for the client, which can acknowledge it from now on. Returns `None` if it is no JetStream message.
    pub(crate) fn delivered(
        &self,
        tenant: &Tenant,
        stream: &str,
        consumer: &str,
        message: Message,
    ) -> Option<pb::JetStreamMessage> {
        let (sequence, delivered, published) = {
            let info = message.info().ok()?;
            (info.stream_sequence, info.delivered, info.published)
        };
        let reply = message.reply.as_deref()?;
        self.recent.add(stream, consumer, sequence, reply);
        let ack_token = self.tokens.issue(stream, consumer, reply);
        let message = message.message;
        Some(pb::JetStreamMessage {
            subject: tenant.own_subject(&message.subject).unwrap_or_default().to_owned(),
            headers: to_headers(message.headers.as_ref()),
            sequence: saturating(sequence),
            timestamp: date(published),
            num_delivered: saturating(delivered),
            ack_token,
            data: message.payload,
        })
    }
}
