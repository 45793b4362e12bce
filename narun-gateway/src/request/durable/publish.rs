//! Publishes a request to its stream, and stores its body as an object if it is large.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, request};
use narun_core::exchange::SubmissionConfig;
use narun_core::frame::RequestHead;
use narun_core::{ExchangeId, Failure, FailureKind};
use narun_nats::drive::{DurableCall, DurableRequest};
use narun_nats::jetstream;
use tokio::time::{Instant, timeout_at};
use tracing::{Span, field};

use super::delivery::{DurableBody, DurableDelivery, DurableInput};
use crate::held::HeldBytes;
use crate::jetstream::StoredBody;
use crate::request::failures::unsendable;

/// A request that the stream has confirmed.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) call: DurableCall,
    /// Whether another request with the same id was stored before, which gets the response.
    pub(super) duplicate: bool,
}

/// Why the stream has not confirmed a request.
#[derive(Debug)]
pub(super) struct Unpublished {
    pub(super) failure: Failure,
    /// Whether the stream may have stored it all the same.
    pub(super) may_be_stored: bool,
}

impl<F: Into<Failure>> From<F> for Unpublished {
    fn from(failure: F) -> Self {
        Self { failure: failure.into(), may_be_stored: false }
    }
}

impl DurableDelivery<'_> {
    /// Publishes the request and waits for the confirmation. `awaits_response` says whether the response is awaited afterwards.
    pub(super) async fn publish(
        &self,
        mut head: RequestHead,
        input: DurableInput,
        awaits_response: bool,
        deadline: Instant,
    ) -> Result<Published, Unpublished> {
        Span::current().record("messaging.message.id", field::display(head.id));
        let store = self.state.store();
        let length = input.body.length();
        // The memory of the frame is counted until the stream has it, instead of that of the body.
        let (frame, mut stored, held) = self.frame(&mut head, input, deadline).await?;
        let request = DurableRequest {
            to: self.route.subject().clone(),
            stream: store.tasks().namespace().task_stream(),
            id: head.id,
            frame,
            expiry: self.durable.expiry,
            wants_response: awaits_response,
        };
        let mut config = SubmissionConfig::default();
        config.grace = self.state.reconnect_grace();
        config.wait = deadline.saturating_duration_since(Instant::now());
        // The other half is for messages that are still on their way.
        config.retry_for = store.tasks().duplicate_window() / 2;
        let mut call = DurableCall::new(self.state.endpoint().clone(), request, config);
        if let Some(stored) = &mut stored {
            stored.keep();
        }
        let accepted = call.accepted().await;
        drop(held);
        let counted = accepted.as_ref().copied().map_err(Failure::kind);
        self.route.metrics().published(counted, length, call.published());
        // No message in the stream refers to this body: the stored one is another request's, or nothing is stored.
        let unused = match &accepted {
            Ok(duplicate) => *duplicate && call.published() == 1,
            Err(_) => !call.may_be_stored(),
        };
        if unused {
            stored.into_iter().for_each(StoredBody::discard);
        }
        match accepted {
            Ok(_) => Ok(Published { call, duplicate: unused }),
            Err(failure) => {
                let may_be_stored = call.may_be_stored();
                let failure = match failure.kind() {
                    FailureKind::StreamMissing => store.missed_by(failure, deadline).await,
                    _ => failure,
                };
                Err(Unpublished { failure, may_be_stored })
            }
        }
    }

    /// The REQUEST frame; the object with its body, if that does not fit; and the memory that the body takes otherwise.
    async fn frame(
        &self,
        head: &mut RequestHead,
        input: DurableInput,
        deadline: Instant,
    ) -> Result<(Bytes, Option<StoredBody>, Option<HeldBytes>), Failure> {
        let DurableInput { request_id, parts, body, trailers, .. } = input;
        let encode = |head: &mut RequestHead, body: &Bytes| {
            self.encode(head, &request_id, &parts, body, trailers.as_ref())
        };
        let stored = match body {
            DurableBody::Stored(stored) => *stored,
            DurableBody::Inline { data, held } => match encode(head, &data)? {
                Some(frame) => return Ok((frame, None, Some(held))),
                // Its fields are longer than expected.
                None => self.store(head.id, data, deadline).await?,
            },
        };
        head.object = Some(Box::new(stored.object().clone()));
        let frame = encode(head, &Bytes::new())?.ok_or(FailureKind::FieldsTooLarge)?;
        Ok((frame, Some(stored), None))
    }

    /// Stores a body that is in memory as an object.
    async fn store(&self, id: ExchangeId, body: Bytes, deadline: Instant) -> Result<StoredBody, Failure> {
        let store = self.state.store();
        let storing = async { store.background().store(store.bodies().await?, id, body).await };
        // Boxed, because it would make the futures of smaller requests larger.
        let stored = timeout_at(deadline, Box::pin(storing)).await.unwrap_or_else(|_| {
            let late = Failure::new(FailureKind::JetStreamUnavailable);
            Err(late.with_cause("the body was not stored in time"))
        });
        stored.inspect_err(|failure| {
            if failure.kind() == FailureKind::JetStreamUnavailable {
                store.missed();
            }
        })
    }

    /// The REQUEST frame with this body. Returns `None` if it does not fit a message.
    fn encode(
        &self,
        head: &mut RequestHead,
        request_id: &HeaderValue,
        parts: &request::Parts,
        body: &Bytes,
        trailers: Option<&HeaderMap>,
    ) -> Result<Option<Bytes>, Failure> {
        let endpoint = self.state.endpoint();
        let room = jetstream::max_stored_frame(endpoint.max_payload());
        if body.len() > room {
            return Ok(None);
        }
        let fields = self.state.complete(head, parts, request_id);
        let frame = head
            .encode(parts, fields.edit(), body.clone(), trailers, endpoint.limits())
            .map_err(|error| unsendable(&error))?;
        Ok((frame.len() <= room).then_some(frame))
    }
}
