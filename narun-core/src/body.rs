use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

/// The body of a request or response that crossed NATS, with its trailers.
///
/// Cancel safe: dropping it drops what has not been read. If there is more to come, the other side is told that it is not
/// wanted.
#[derive(Default)]
pub struct Body {
    inner: Inner,
}

enum Inner {
    Whole { data: Option<Bytes>, trailers: Option<HeaderMap> },
    Stream(Pin<Box<Stream>>),
}

/// A body that comes piece by piece.
type Stream = dyn http_body::Body<Data = Bytes, Error = BodyError> + Send + Sync;

impl Body {
    /// A body without a byte.
    pub const fn empty() -> Self {
        Self { inner: Inner::Whole { data: None, trailers: None } }
    }

    /// The same body with these trailer fields after it. A body that is still to come brings its own.
    #[must_use]
    pub fn with_trailers(mut self, fields: Option<HeaderMap>) -> Self {
        if let Inner::Whole { trailers, .. } = &mut self.inner {
            *trailers = fields.filter(|trailers| !trailers.is_empty());
        }
        self
    }

    /// A body that comes piece by piece.
    pub fn streaming<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Send + Sync + 'static,
    {
        Self { inner: Inner::Stream(Box::pin(body)) }
    }
}

impl Default for Inner {
    fn default() -> Self {
        Self::Whole { data: None, trailers: None }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut body = f.debug_struct("Body");
        match &self.inner {
            Inner::Whole { data, trailers } => body.field("data", data).field("trailers", trailers).finish(),
            Inner::Stream(_) => body.finish_non_exhaustive(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(data: Bytes) -> Self {
        let data = Some(data).filter(|data| !data.is_empty());
        Self { inner: Inner::Whole { data, trailers: None } }
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
            Inner::Whole { data, trailers } => {
                let frame = data.take().map(Frame::data).or_else(|| trailers.take().map(Frame::trailers));
                Poll::Ready(frame.map(Ok))
            }
            Inner::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Whole { data, trailers } => data.is_none() && trailers.is_none(),
            Inner::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Whole { data, trailers } => {
                let length = data.as_ref().map_or(0, |data| data.len() as u64);
                let mut hint = SizeHint::with_exact(length);
                if trailers.is_some() {
                    // HTTP/1.1 has no trailers behind a length that is told beforehand.
                    hint = SizeHint::new();
                    hint.set_lower(length);
                }
                hint
            }
            Inner::Stream(body) => body.size_hint(),
        }
    }
}

/// A body that broke off before its end.
#[derive(Debug, thiserror::Error)]
#[error("body broke off: {kind}")]
pub struct BodyError {
    kind: BodyErrorKind,
}

impl BodyError {
    /// Why it broke off.
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
    /// A part of it was lost.
    #[error("a part was lost")]
    Gap,
    /// The other side is gone or silent, or the time allowed is over.
    #[error("timed out")]
    TimedOut,
    /// The request was over a limit when its response had begun.
    #[error("over a limit")]
    TooLarge,
    /// It is not as long as its `Content-Length` says.
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
    fn its_length_is_announced_only_where_that_is_all() {
        let trailers = HeaderMap::from_iter([(ETAG, HeaderValue::from_static("x"))]);
        for (trailers, exact) in [(None, Some(4)), (Some(HeaderMap::new()), Some(4)), (Some(trailers), None)]
        {
            let hint = Body::from("body").with_trailers(trailers).size_hint();
            assert_eq!((hint.lower(), hint.exact()), (4, exact));
        }
    }
}
