//! The part of a request's body that follows its REQUEST.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Frame;
use narun_core::Failure;
use pin_project::pin_project;

use super::failures::{body_failed, too_large};
use crate::body::BoxError;
use crate::route::compiled::CompiledRoute;

/// A request's body after its inline bytes, up to the route's limit.
#[derive(Debug)]
#[pin_project]
pub(crate) struct RemainingBody<B> {
    /// The bytes that were received already.
    received: [Bytes; 2],
    /// The bytes that follow them.
    #[pin]
    body: Option<B>,
    trailers: Option<HeaderMap>,
    /// How many bytes `body` may have.
    left: usize,
    route: Arc<CompiledRoute>,
}

impl<B> RemainingBody<B> {
    /// The body after `inline` bytes: first `received`, then `body` or `trailers`.
    pub(super) fn new(
        inline: usize,
        received: [Bytes; 2],
        body: Option<B>,
        trailers: Option<HeaderMap>,
        route: Arc<CompiledRoute>,
    ) -> Self {
        let length = received.iter().fold(inline, |length, piece| length + piece.len());
        Self { left: route.max_body().saturating_sub(length), received, body, trailers, route }
    }
}

impl<B> http_body::Body for RemainingBody<B>
where
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = self.project();
        if let Some(piece) = this.received.iter_mut().find(|piece| !piece.is_empty()) {
            this.route.metrics().sent(piece.len());
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(piece)))));
        }
        let Some(body) = this.body.as_pin_mut() else {
            return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        };
        let Some(frame) = ready!(body.poll_frame(cx)) else { return Poll::Ready(None) };
        let frame = match frame.map_err(body_failed) {
            Ok(frame) => frame.map_data(|mut data| data.copy_to_bytes(data.remaining())),
            Err(failure) => return Poll::Ready(Some(Err(failure))),
        };
        if let Some(data) = frame.data_ref() {
            match this.left.checked_sub(data.len()) {
                Some(left) => *this.left = left,
                None => return Poll::Ready(Some(Err(too_large(this.route.max_body())))),
            }
            this.route.metrics().sent(data.len());
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.received.iter().all(Bytes::is_empty)
            && match &self.body {
                Some(body) => body.is_end_stream(),
                None => self.trailers.is_none(),
            }
    }
}
