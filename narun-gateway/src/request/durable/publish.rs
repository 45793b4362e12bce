//! Publishes a request to its stream, and stores its body as an object if it is large.

use bytes::Bytes;
use narun_core::exchange::SubmissionConfig;
use narun_core::frame::RequestHead;
use narun_core::{Failure, FailureKind};
use narun_nats::drive::{DurableCall, DurableRequest};
use narun_nats::jetstream;
use tokio::time::{Instant, timeout_at};
use tracing::{Span, field};

use super::delivery::{DurableDelivery, DurableInput};
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
        input: &DurableInput,
        awaits_response: bool,
        deadline: Instant,
    ) -> Result<Published, Unpublished> {
        Span::current().record("messaging.message.id", field::display(head.id));
        let store = self.state.store();
        let (frame, mut stored) = self.frame(&mut head, input, deadline).await?;
        let request = DurableRequest {
            to: self.route.subject().clone(),
            stream: store.tasks().namespace().task_stream(),
            id: head.id,
            frame,
            expiry: self.durable.expiry,
            wants_response: awaits_response,
        };
        let mut config = SubmissionConfig::default();
        config.wait = deadline.saturating_duration_since(Instant::now());
        // The other half is for messages that are still on their way.
        config.retry_for = store.tasks().duplicate_window() / 2;
        let mut call = DurableCall::new(self.state.endpoint().clone(), request, config);
        if let Some(stored) = &mut stored {
            stored.keep();
        }
        let accepted = call.accepted().await;
        let counted = accepted.as_ref().copied().map_err(Failure::kind);
        self.route.metrics().published(counted, input.body.len(), call.published());
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
                if failure.kind() == FailureKind::StreamMissing {
                    store.missed();
                }
                Err(Unpublished { failure, may_be_stored: call.may_be_stored() })
            }
        }
    }

    /// The REQUEST frame, and the object with its body if that does not fit.
    async fn frame(
        &self,
        head: &mut RequestHead,
        input: &DurableInput,
        deadline: Instant,
    ) -> Result<(Bytes, Option<StoredBody>), Failure> {
        if let Some(frame) = self.encode(head, input, &input.body)? {
            return Ok((frame, None));
        }
        let store = self.state.store();
        let storing =
            async { store.background().store(store.bodies().await?, head.id, input.body.clone()).await };
        // Boxed, because it would make the futures of smaller requests larger.
        let stored = timeout_at(deadline, Box::pin(storing)).await.unwrap_or_else(|_| {
            let late = Failure::new(FailureKind::JetStreamUnavailable);
            Err(late.with_cause("the body was not stored in time"))
        });
        let stored = stored.inspect_err(|failure| {
            if failure.kind() == FailureKind::JetStreamUnavailable {
                store.missed();
            }
        })?;
        head.object = Some(Box::new(stored.object().clone()));
        let frame = self.encode(head, input, &Bytes::new())?.ok_or(FailureKind::FieldsTooLarge)?;
        Ok((frame, Some(stored)))
    }

    /// The REQUEST frame with this body. Returns `None` if it does not fit a message.
    fn encode(
        &self,
        head: &mut RequestHead,
        input: &DurableInput,
        body: &Bytes,
    ) -> Result<Option<Bytes>, Failure> {
        let endpoint = self.state.endpoint();
        let room = jetstream::max_stored_frame(endpoint.max_payload());
        if body.len() > room {
            return Ok(None);
        }
        let fields = self.state.complete(head, &input.parts, &input.request_id);
        let trailers = input.trailers.as_ref();
        let frame = head
            .encode(&input.parts, fields.edit(), body.clone(), trailers, endpoint.limits())
            .map_err(|error| unsendable(&error))?;
        Ok((frame.len() <= room).then_some(frame))
    }
}
