use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use async_nats::Subject;
use bytes::Bytes;
use narun_core::exchange::{Caller, CallerConfig, CallerEvent, FlowConfig};
use narun_core::frame::ResponseFrame;
use narun_core::{Failure, FailureKind};
use pin_project::{pin_project, pinned_drop};

use super::machine::{Hold, Owned};
use super::outlet::CallerOutlet;
use super::run::{Application, Drive};
use crate::inbox::Endpoint;
use crate::link::PublishError;

/// A call with a complete request: a future of the response's head.
///
/// Cancel safe. Dropped, it notifies the consumer, if one is known, and leaves nothing behind.
#[pin_project(PinnedDrop)]
pub struct Call {
    #[pin]
    drive: Drive<Owned<Caller<Subject>>, CallerOutlet>,
}

/// The application of a call: it waits for the response.
struct AwaitResponse;

impl Call {
    /// Sends `frame`, an encoded REQUEST, to the subject `to` when polled.
    pub fn new(endpoint: Arc<Endpoint>, to: Subject, frame: Bytes, config: CallerConfig, seed: u64) -> Self {
        let mut machine = Owned(Caller::new(endpoint.now(), config, seed));
        if let Some(at) = endpoint.restored_at() {
            machine.0.restored_at(at);
        }
        let registration = Some(endpoint.register());
        Self { drive: Drive::new(endpoint, machine, CallerOutlet::new(to, frame), registration) }
    }

    /// The same call, whose response may exceed one frame. See [`StreamedExchange`](super::StreamedExchange).
    #[must_use]
    pub fn streaming(mut self, flow: Arc<FlowConfig>) -> Self {
        self.drive.owned_mut().allow_streaming(flow);
        self
    }

    pub(super) fn pinned_drive(
        self: Pin<&mut Self>,
    ) -> Pin<&mut Drive<Owned<Caller<Subject>>, CallerOutlet>> {
        self.project().drive
    }

    /// How many attempts of the request have been published.
    pub const fn attempts(&self) -> u8 {
        self.drive.outlet.attempts()
    }
}

impl Future for Call {
    type Output = Result<Box<ResponseFrame>, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().drive.poll(cx, Pin::new(&mut AwaitResponse))
    }
}

impl Application<Caller<Subject>> for AwaitResponse {
    type Output = Result<Box<ResponseFrame>, Failure>;

    fn poll_advance(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _endpoint: &Endpoint,
        _machine: &mut impl Hold<Caller<Subject>>,
    ) -> Poll<()> {
        Poll::Pending
    }

    fn event(self: Pin<&mut Self>, event: CallerEvent) -> Option<Self::Output> {
        Some(match event {
            CallerEvent::Response(response) => Ok(response),
            CallerEvent::Failed(failure) => Err(failure),
        })
    }

    fn unsent(
        self: Pin<&mut Self>,
        error: PublishError,
        _endpoint: &Endpoint,
        _machine: &mut impl Hold<Caller<Subject>>,
    ) -> Option<Self::Output> {
        Some(Err(undeliverable(error)))
    }

    fn ended(self: Pin<&mut Self>) -> Option<Self::Output> {
        None
    }
}

/// The failure of a request that could not be published.
pub(super) fn undeliverable(error: PublishError) -> Failure {
    match error {
        PublishError::TooLarge => FailureKind::ContentTooLarge.into(),
        PublishError::Denied => FailureKind::NotPermitted.into(),
        PublishError::Full | PublishError::Closed => FailureKind::Disconnected.into(),
    }
}

#[pinned_drop]
impl PinnedDrop for Call {
    fn drop(self: Pin<&mut Self>) {
        let mut drive = self.project().drive;
        drive.as_mut().machine().with(Caller::cancel);
        drive.abandon(Waker::noop());
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("attempts", &self.attempts()).finish_non_exhaustive()
    }
}
