//! Bodies of direct requests that are collected whole, because they are short.

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

/// A request whose body is being collected.
#[derive(Debug)]
#[pin_project]
pub(super) struct Collecting<B> {
    pub(super) id: ExchangeId,
    pub(super) parts: request::Parts,
    #[pin]
    body: Collect<B>,
    /// How many bytes were received when the deadline was last moved.
    progress: usize,
    #[pin]
    timer: Timer,
    max_pause: Duration,
    deadline: Time,
}

impl<B> Collecting<B> {
    /// Collects at most `limit` bytes, with pauses of at most `max_pause`.
    pub(super) fn new(
        id: ExchangeId,
        parts: request::Parts,
        body: B,
        limit: usize,
        endpoint: &Endpoint,
        max_pause: Duration,
    ) -> Self {
        Self {
            id,
            parts,
            body: Collect::new(body, limit),
            progress: 0,
            timer: endpoint.timer(),
            max_pause,
            deadline: endpoint.now() + max_pause,
        }
    }
}

impl<B> Collecting<B>
where
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    /// Ready with the whole body and its trailers.
    ///
    /// # Errors
    ///
    /// The body is over the limit, fails or pauses for too long.
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
            *this.deadline = endpoint.now() + *this.max_pause;
        }
        ready!(this.timer.as_mut().poll_until(cx, *this.deadline));
        Poll::Ready(Err(FailureKind::RequestTimedOut.into()))
    }

    /// Takes the request's head. Must be called once.
    pub(super) fn take_parts(self: Pin<&mut Self>) -> request::Parts {
        let (empty, ()) = http::Request::new(()).into_parts();
        std::mem::replace(self.project().parts, empty)
    }
}
