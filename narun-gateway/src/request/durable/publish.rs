//! Putting a request into the stream, and its body beside it where that is large.

use bytes::Bytes;
use narun_core::exchange::SubmissionConfig;
use narun_core::frame::RequestHead;
use narun_core::{Failure, FailureKind};
use narun_nats::drive::{DurableCall, DurableRequest};
use narun_nats::jetstream;
use tokio::time::{Instant, timeout_at};
use tracing::{Span, field};

use super::{DurableDelivery, DurableInput};
use crate::jetstream::Parked;
use crate::request::failures::unsendable;

/// A request that the stream has.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) call: DurableCall,
    /// The stream has it from somebody else, who gets the answer.
    pub(super) duplicate: bool,
}

/// Why the stream is not known to have a request.
#[derive(Debug)]
pub(super) struct Unpublished {
    pub(super) failure: Failure,
    /// Whether it may have it all the same.
    pub(super) may_be_stored: bool,
}

impl<F: Into<Failure>> From<F> for Unpublished {
    fn from(failure: F) -> Self {
        Self { failure: failure.into(), may_be_stored: false }
    }
}

impl DurableDelivery<'_> {
    /// Puts the request into the stream; `answer` if one is waited for afterwards.
    pub(super) async fn publish(
        &self,
        mut head: RequestHead,
        received: &DurableInput,
        answer: bool,
        deadline: Instant,
    ) -> Result<Published, Unpublished> {
        Span::current().record("messaging.message.id", field::display(head.id));
        let store = self.state.store();
        let (frame, mut parked) = self.frame(&mut head, received, deadline).await?;
        let request = DurableRequest {
            to: self.route.subject().clone(),
            stream: store.tasks().namespace().task_stream(),
            id: head.id,
            frame,
            expiry: self.durable.expiry,
            wants_response: answer,
        };
        let mut config = SubmissionConfig::default();
        config.wait = deadline.saturating_duration_since(Instant::now());
        // Half of it is left for what is on its way.
        config.retry_for = store.tasks().duplicate_window() / 2;
        let mut call = DurableCall::new(self.state.endpoint().clone(), request, config);
        if let Some(parked) = &mut parked {
            parked.keep();
        }
        let accepted = call.accepted().await;
        let counted = accepted.as_ref().copied().map_err(Failure::kind);
        self.route.metrics().published(counted, received.body.len(), call.published());
        // Nothing in the stream refers to this body: what is there has been published by somebody else, or nothing is.
        let unused = match &accepted {
            Ok(duplicate) => *duplicate && call.published() == 1,
            Err(_) => !call.may_be_stored(),
        };
        if unused {
            parked.into_iter().for_each(Parked::discard);
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

    /// The REQUEST, and its body's object if that does not fit into it.
    async fn frame(
        &self,
        head: &mut RequestHead,
        received: &DurableInput,
        deadline: Instant,
    ) -> Result<(Bytes, Option<Parked>), Failure> {
        if let Some(frame) = self.encode(head, received, &received.body)? {
            return Ok((frame, None));
        }
        let store = self.state.store();
        let parking =
            async { store.chores().park(store.bodies().await?, head.id, received.body.clone()).await };
        // Boxed, as what fits need not be as large.
        let parked = timeout_at(deadline, Box::pin(parking)).await.unwrap_or_else(|_| {
            let late = Failure::new(FailureKind::JetStreamUnavailable);
            Err(late.with_detail("the body was not stored in time"))
        });
        let parked = parked.inspect_err(|failure| {
            if failure.kind() == FailureKind::JetStreamUnavailable {
                store.missed();
            }
        })?;
        head.object = Some(Box::new(parked.object().clone()));
        let frame = self.encode(head, received, &Bytes::new())?.ok_or(FailureKind::FieldsTooLarge)?;
        Ok((frame, Some(parked)))
    }

    /// The REQUEST with this body, if they fit a message.
    fn encode(
        &self,
        head: &mut RequestHead,
        received: &DurableInput,
        body: &Bytes,
    ) -> Result<Option<Bytes>, Failure> {
        let endpoint = self.state.endpoint();
        let room = jetstream::room(endpoint.max_payload());
        if body.len() > room {
            return Ok(None);
        }
        let fields = self.state.complete(head, &received.parts, received.id);
        let trailers = received.trailers.as_ref();
        let frame = head
            .encode(&received.parts, fields.edit(), body.clone(), trailers, endpoint.limits())
            .map_err(|error| unsendable(&error))?;
        Ok((frame.len() <= room).then_some(frame))
    }
}
