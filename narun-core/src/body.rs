use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

/// The body of a request or response that crossed NATS, with its trailers.
///
/// Cancel safe: dropping a body drops the bytes that were not read. If more of a streamed body follows, the other side is
/// notified that it is not wanted.
#[derive(Default)]
pub struct Body {
    inner: BodyInner,
}

enum BodyInner {
    Whole { data: Option<Bytes>, trailers: Option<HeaderMap> },
    Streamed(Pin<Box<StreamedBody>>),
}

/// A body whose parts arrive one after the other.
type StreamedBody = dyn http_body::Body<Data = Bytes, Error = BodyError> + Send + Sync;

impl Body {
    /// Creates an empty body.
    pub const fn empty() -> Self {
        Self { inner: BodyInner::Whole { data: None, trailers: None } }
    }

    /// Adds trailer fields to a whole body; `None` removes them. Does nothing to a streamed body, which has its own.
    #[must_use]
    pub fn with_trailers(mut self, fields: Option<HeaderMap>) -> Self {
        if let BodyInner::Whole { trailers, .. } = &mut self.inner {
            *trailers = fields.filter(|trailers| !trailers.is_empty());
        }
        self
    }

    /// Creates a streamed body.
    pub fn streaming<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Send + Sync + 'static,
    {
        Self { inner: BodyInner::Streamed(Box::pin(body)) }
    }
}

impl Default for BodyInner {
    fn default() -> Self {
        Self::Whole { data: None, trailers: None }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut body = f.debug_struct("Body");
        match &self.inner {
            BodyInner::Whole { data, trailers } => {
                body.field("data", data).field("trailers", trailers).finish()
            }
            BodyInner::Streamed(_) => body.finish_non_exhaustive(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(data: Bytes) -> Self {
        let data = Some(data).filter(|data| !data.is_empty());
        Self { inner: BodyInner::Whole { data, trailers: None } }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.inner {
            BodyInner::Whole { data, trailers } => {
                let frame = data.take().map(Frame::data).or_else(|| trailers.take().map(Frame::trailers));
                Poll::Ready(frame.map(Ok))
            }
            BodyInner::Streamed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            BodyInner::Whole { data, trailers } => data.is_none() && trailers.is_none(),
            BodyInner::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            BodyInner::Whole { data, trailers } => {
                let length = data.as_ref().map_or(0, |data| data.len() as u64);
                let mut hint = SizeHint::with_exact(length);
                if trailers.is_some() {
                    // With an exact length, HTTP/1.1 would announce it and drop the trailers.
                    hint = SizeHint::new();
                    hint.set_lower(length);
                }
                hint
            }
            BodyInner::Streamed(body) => body.size_hint(),
        }
    }
}

/// The error of a body that broke off before its end.
#[derive(Debug, thiserror::Error)]
#[error("body broke off: {kind}")]
pub struct BodyError {
    kind: BodyErrorKind,
}

impl BodyError {
    /// Returns why the body broke off.
    pub const fn kind(&self) -> BodyErrorKind {
        self.kind
    }
}

impl From<BodyErrorKind> for BodyError {
    fn from(kind: BodyErrorKind) -> Self {
        Self { kind }
    }
}

/// Why a [`Body`] broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum BodyErrorKind {
    /// The other side ended the exchange.
    #[error("reset by the other side")]
    Reset,
    /// A part of the body was lost.
    #[error("a part was lost")]
    Gap,
    /// The other side is gone or silent, or the deadline has passed.
    #[error("timed out")]
    TimedOut,
    /// The request's body is over a limit; its response had begun.
    #[error("over a limit")]
    TooLarge,
    /// The body is not as long as its `Content-Length` states.
    #[error("not as long as announced")]
    Length,
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::ETAG;
    use http_body::Body as _;

    use super::*;

    #[test]
    fn a_body_with_trailers_has_no_exact_length() {
        let trailers = HeaderMap::from_iter([(ETAG, HeaderValue::from_static("x"))]);
        for (trailers, exact) in [(None, Some(4)), (Some(HeaderMap::new()), Some(4)), (Some(trailers), None)]
        {
            let hint = Body::from("body").with_trailers(trailers).size_hint();
            assert_eq!((hint.lower(), hint.exact()), (4, exact));
        }
    }
}
