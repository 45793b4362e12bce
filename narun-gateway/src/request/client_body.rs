//! The body that an HTTP client sends.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Version, header, request};
use http_body::{Frame, SizeHint};

use crate::linger::Lingering;

/// The body of an HTTP client's request. Dropped before its end, it is read on for a while, so that the client receives the
/// response (see [`Linger`](crate::Linger)).
pub(crate) struct ClientBody<B> {
    /// `None` after the end.
    body: Option<Pin<Box<B>>>,
    /// How the rest is read. `None` if it is dropped.
    rest: Option<Rest<B>>,
    /// Whether the client waits for 100, which it gets at the first poll.
    waits: bool,
}

/// A function, so that types which contain a body need no bounds.
struct Rest<B> {
    lingering: Arc<Lingering>,
    read: fn(&Lingering, Pin<Box<B>>),
}

impl<B: http_body::Body + Send + 'static> ClientBody<B> {
    /// The body of the request with this head.
    pub(crate) fn new(parts: &request::Parts, body: B, lingering: &Arc<Lingering>) -> Self {
        // An HTTP/2 server ends the stream without the rest of its body.
        let can_linger = parts.version < Version::HTTP_2;
        let rest = can_linger.then(|| Rest { lingering: lingering.clone(), read: Lingering::read });
        Self { body: Some(Box::pin(body)), rest, waits: expects_continue(parts) }
    }

    /// Takes the body of a request that gets its response without it.
    pub(crate) fn discard(parts: &request::Parts, body: B, lingering: &Arc<Lingering>) {
        if !body.is_end_stream() {
            drop(Self::new(parts, body, lingering));
        }
    }
}

#[cfg(test)]
impl<B> ClientBody<B> {
    /// A body whose rest is not read.
    pub(super) fn only(body: B) -> Self {
        Self { body: Some(Box::pin(body)), rest: None, waits: false }
    }
}

impl<B: http_body::Body> http_body::Body for ClientBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.waits = false;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(body.as_mut().poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || body.is_end_stream() {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), |body| body.size_hint())
    }
}

impl<B> Drop for ClientBody<B> {
    fn drop(&mut self) {
        if let (Some(body), Some(rest), false) = (self.body.take(), self.rest.take(), self.waits) {
            (rest.read)(&rest.lingering, body);
        }
    }
}

impl<B> fmt::Debug for ClientBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBody").field("ended", &self.body.is_none()).finish_non_exhaustive()
    }
}

/// Whether the client waits for 100 before it sends its body.
pub(super) fn expects_continue(parts: &request::Parts) -> bool {
    let expect = parts.headers.get(header::EXPECT);
    expect.is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
