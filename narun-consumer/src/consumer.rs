//! The state that all requests of a consumer share, and reading a request from a message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::{Client, Message};
use http::Request;
use narun_core::exchange::{Callee, CalleeConfig};
use narun_core::frame::{DecodeError, Refusal, Refused, RequestFrame, VERSIONS};
use narun_core::{App, Body, BodyErrorKind, Time};
use narun_nats::body::{Measured, content_length};
use narun_nats::drive::HeldCallee;
use narun_nats::inbox::Endpoint;
use tokio::time::Instant;
use tracing::Span;

use crate::admission::{Admission, Place};
use crate::extensions::{Delivery, Received};
use crate::log::FailureLog;
use crate::metrics::{self, Metrics};
use crate::settings::MakeSpan;

/// The state that all requests of a consumer share.
pub(crate) struct Consumer {
    pub(crate) app: App,
    pub(crate) make_span: MakeSpan,
    pub(crate) client: Client,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) admission: Admission,
    pub(crate) exchange: Arc<CalleeConfig>,
    pub(crate) metrics: Metrics,
    pub(crate) failures: Arc<FailureLog>,
    /// Whether a request has been taken since the start.
    pub(crate) has_taken: AtomicBool,
}

/// A request that has a place, and may be handled.
pub(crate) struct Admitted {
    pub(crate) request: Request<Body>,
    pub(crate) machine: HeldCallee,
    pub(crate) received: Time,
    pub(crate) span: Span,
    pub(crate) place: Place,
}

/// A message that was admitted, on its way from the reader to the dispatcher.
pub(crate) struct ReceivedMessage {
    pub(crate) message: Message,
    pub(crate) received: Time,
    pub(crate) place: Place,
}

impl Consumer {
    /// Notes that a request is taken.
    pub(crate) fn note_taken(&self) {
        self.has_taken.store(true, Ordering::Relaxed);
    }

    /// Reads the request in a message. Returns `None` if it was refused, or its deadline has passed.
    pub(crate) fn read(&self, message: ReceivedMessage) -> Option<Admitted> {
        let ReceivedMessage { message, received, place } = message;
        let Self { endpoint, exchange, metrics, .. } = self;
        let frame = match RequestFrame::decode(&message.payload, endpoint.limits()) {
            Ok(frame) if frame.head.object.is_none() => frame,
            Ok(_) => return self.refuse_frame(message, Refusal::BadFrame, "its body is stored elsewhere"),
            Err(error @ DecodeError::Version(_)) => {
                return self.refuse_frame(message, Refusal::Version, error);
            }
            Err(error) => return self.refuse_frame(message, Refusal::BadFrame, error),
        };
        let max_payload = endpoint.max_payload() as u64;
        let machine = Callee::new(received, &frame.head, message.reply?, max_payload, exchange.clone());
        let now = endpoint.now();
        if machine.deadline().is_some_and(|deadline| deadline <= now) {
            metrics.cancelled(narun_core::exchange::Cancelled::Deadline, false);
            return None;
        }
        let span = (self.make_span)(&frame.parts, &self.app);
        let deadline = machine.deadline();
        let (machine, body) = if frame.head.end {
            (HeldCallee::Own(machine), Body::from(frame.body).with_trailers(frame.trailers))
        } else {
            let machine = machine.with_body(received, frame.head.head_timeout, frame.body);
            let (machine, incoming) = HeldCallee::share(machine);
            let length = content_length(&frame.parts.headers).ok().flatten();
            let body = Measured::new(incoming, length, BodyErrorKind::Gap);
            (machine, Body::streaming(body))
        };
        let mut request = Request::from_parts(frame.parts, body);
        request.extensions_mut().insert(Received {
            id: frame.head.id,
            app: self.app.clone(),
            peer: frame.head.peer,
            scheme: frame.head.scheme,
            deadline: deadline.map(|deadline| Instant::now() + (deadline - now)),
            delivery: Delivery::Direct { attempt: frame.head.attempt },
        });
        Some(Admitted { request, machine, received, span, place })
    }

    fn refuse_frame(
        &self,
        message: Message,
        reason: Refusal,
        why: impl std::fmt::Display,
    ) -> Option<Admitted> {
        self.failures.refused("it cannot be read", Some(&why), &message.payload);
        self.metrics.refused(match reason {
            Refusal::Version => metrics::Refusal::Version,
            _ => metrics::Refusal::BadFrame,
        });
        refuse(&self.endpoint, message, reason);
        None
    }
}

/// Notifies the gateway that its request was not executed.
pub(crate) fn refuse(endpoint: &Endpoint, message: Message, reason: Refusal) {
    let Some(reply) = message.reply else { return };
    let versions = if reason == Refusal::Version { VERSIONS.to_vec() } else { Vec::new() };
    let refused = Refused { reason, retry_after: None, versions };
    // If the client's queue is full, nothing is sent: the gateway retries when it times out.
    endpoint.publish_or_drop(reply, refused.encode());
}
