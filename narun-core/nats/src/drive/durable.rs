use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::{HeaderMap, HeaderName, Subject};
use bytes::Bytes;
use narun_core::exchange::{Submission, SubmissionConfig, SubmissionEvent};
use narun_core::frame::ResponseFrame;
use narun_core::{ExchangeId, Failure};

use super::call::undeliverable;
use super::machine::{Hold, Owned};
use super::outlet::{RESPONSE, SubmissionOutlet};
use super::run::{Application, Drive};
use crate::inbox::Endpoint;
use crate::jetstream::header;
use crate::link::PublishError;

/// A request for a stream.
#[derive(Debug)]
pub struct DurableRequest<'a> {
    /// The app's subject, which the stream captures.
    pub to: Subject,
    /// The stream's name.
    pub stream: &'a str,
    /// The id, by which the stream recognises duplicates.
    pub id: ExchangeId,
    /// The encoded REQUEST.
    pub frame: Bytes,
    /// The time after which it is no longer run. `None`: it does not expire.
    pub expiry: Option<Duration>,
    /// Whether the response must be sent to this gateway.
    pub wants_response: bool,
}

/// A durable exchange of a gateway.
///
/// Dropped, it leaves nothing behind here and cancels nothing there: if the stream has the request, it is done.
pub struct DurableCall {
    drive: Pin<Box<Drive<Owned<Submission>, SubmissionOutlet>>>,
}

/// The application of a durable call: it waits for the next event.
struct AwaitEvent;

impl DurableCall {
    /// Publishes `request` when polled.
    pub fn new(endpoint: Arc<Endpoint>, request: DurableRequest<'_>, config: SubmissionConfig) -> Self {
        let mut machine = Owned(Submission::new(endpoint.now(), request.id, config));
        if let Some(at) = endpoint.restored_at() {
            machine.0.restored_at(at);
        }
        let mut registration = endpoint.register();
        // Opened even if no response is wanted: changes of the connection arrive with it too.
        let inbox = registration.reply(RESPONSE);
        let mut headers = HeaderMap::new();
        let mut insert = |name, value: &str| headers.insert(HeaderName::from_static(name), value);
        insert(header::MESSAGE_ID, &request.id.to_string());
        insert(header::EXPECTED_STREAM, request.stream);
        if request.wants_response {
            insert(header::INBOX, &inbox);
        }
        if let Some(expiry) = request.expiry {
            insert(header::EXPIRY, &expiry.as_millis().to_string());
        }
        let outlet = SubmissionOutlet { to: request.to, headers, frame: request.frame };
        Self { drive: Box::pin(Drive::new(endpoint, machine, outlet, Some(registration))) }
    }

    /// Waits until the stream has the request. Returns whether it had the request before (see
    /// [`SubmissionEvent::Accepted`]).
    ///
    /// Cancel safe. Must not be called again after it has completed.
    ///
    /// # Errors
    ///
    /// The stream does not have the request, or did not confirm it in time.
    pub async fn accepted(&mut self) -> Result<bool, Failure> {
        match self.next_event().await {
            SubmissionEvent::Accepted { duplicate } => {
                // It is not published again: it may be large, and the response may take long.
                self.drive.as_mut().project().outlet.frame = Bytes::new();
                Ok(duplicate)
            }
            SubmissionEvent::Failed(failure) => Err(failure),
            // Never the first event.
            SubmissionEvent::Response(_) => Ok(false),
        }
    }

    /// Waits for the response. Must be called after [`DurableCall::accepted`] has returned `Ok`.
    ///
    /// Cancel safe: it can be called again until it has completed.
    ///
    /// # Errors
    ///
    /// The response did not arrive in time, or is invalid.
    pub async fn response(&mut self) -> Result<Box<ResponseFrame>, Failure> {
        loop {
            match self.next_event().await {
                SubmissionEvent::Accepted { .. } => {}
                SubmissionEvent::Response(response) => return Ok(response),
                SubmissionEvent::Failed(failure) => return Err(failure),
            }
        }
    }

    /// How many times the request was published.
    pub fn published(&self) -> u32 {
        self.submission().published()
    }

    /// Returns whether the stream may have the request.
    pub fn may_be_stored(&self) -> bool {
        self.submission().may_be_stored()
    }

    async fn next_event(&mut self) -> SubmissionEvent {
        poll_fn(|cx| self.drive.as_mut().poll(cx, Pin::new(&mut AwaitEvent))).await
    }

    fn submission(&self) -> &Submission {
        &self.drive.machine_ref().0
    }
}

impl Application<Submission> for AwaitEvent {
    type Output = SubmissionEvent;

    fn poll_advance(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _endpoint: &Endpoint,
        _machine: &mut impl Hold<Submission>,
    ) -> Poll<()> {
        Poll::Pending
    }

    fn event(self: Pin<&mut Self>, event: SubmissionEvent) -> Option<SubmissionEvent> {
        Some(event)
    }

    fn unsent(
        self: Pin<&mut Self>,
        error: PublishError,
        endpoint: &Endpoint,
        machine: &mut impl Hold<Submission>,
    ) -> Option<SubmissionEvent> {
        let now = endpoint.now();
        machine.with(|submission| submission.handle_unsent(now, undeliverable(error)));
        None
    }

    fn ended(self: Pin<&mut Self>) -> Option<SubmissionEvent> {
        None
    }
}

impl fmt::Debug for DurableCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableCall").field("machine", self.submission()).finish_non_exhaustive()
    }
}
