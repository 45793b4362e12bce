//! Bodies that are waited for whole: short ones, and those of durable requests.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, request};
use narun_core::{ExchangeId, Failure, FailureKind, Time};
use narun_nats::Timer;
use narun_nats::body::{Collect, CollectError};
use narun_nats::inbox::Endpoint;
use pin_project::pin_project;

use super::failures::{body_failed, too_large};
use crate::body::BoxError;

/// A request whose body is being received.
#[derive(Debug)]
#[pin_project]
pub(super) struct Collecting<B> {
    pub(super) id: ExchangeId,
    pub(super) parts: request::Parts,
    #[pin]
    body: Collect<B>,
    /// How much of it had come when the deadline was last moved.
    progress: usize,
    #[pin]
    timer: Timer,
    patience: Duration,
    deadline: Time,
}

impl<B> Collecting<B> {
    /// Receives at most `limit` bytes, with pauses of this length at most.
    pub(super) fn new(
        id: ExchangeId,
        parts: request::Parts,
        body: B,
        limit: usize,
        endpoint: &Endpoint,
        patience: Duration,
    ) -> Self {
        Self {
            id,
            parts,
            body: Collect::new(body, limit),
            progress: 0,
            timer: endpoint.timer(),
            patience,
            deadline: endpoint.now() + patience,
        }
    }
}

impl<B> Collecting<B>
where
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    /// Ready once the whole body is there, or once it is clear that it is not to be.
    pub(super) fn poll_whole(
        self: Pin<&mut Self>,
        endpoint: &Endpoint,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Bytes, Option<HeaderMap>), Failure>> {
        let mut this = self.project();
        if let Poll::Ready(collected) = this.body.as_mut().poll(cx) {
            return Poll::Ready(collected.map_err(|error| match error {
                CollectError::TooLarge => too_large(this.body.limit()),
                CollectError::Body(error) => body_failed(error),
            }));
        }
        if *this.progress != this.body.received() {
            *this.progress = this.body.received();
            *this.deadline = endpoint.now() + *this.patience;
        }
        ready!(this.timer.as_mut().poll_until(cx, *this.deadline));
        Poll::Ready(Err(FailureKind::RequestTimedOut.into()))
    }

    /// The request's head; of no use here any more.
    pub(super) fn take_parts(self: Pin<&mut Self>) -> request::Parts {
        let (nothing, ()) = http::Request::new(()).into_parts();
        std::mem::replace(self.project().parts, nothing)
    }
}
