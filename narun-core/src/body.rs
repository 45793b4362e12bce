use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

/// The body of a request or response that crossed NATS, with its trailers.
///
/// Cancel safe: dropping it drops what has not been read, and nothing else.
#[derive(Debug, Default)]
pub struct Body {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Body {
    /// A body without a byte.
    pub const fn empty() -> Self {
        Self { data: None, trailers: None }
    }

    /// The same body with these trailer fields after it.
    #[must_use]
    pub fn with_trailers(mut self, trailers: Option<HeaderMap>) -> Self {
        self.trailers = trailers.filter(|trailers| !trailers.is_empty());
        self
    }
}

impl From<Bytes> for Body {
    fn from(data: Bytes) -> Self {
        Self { data: Some(data).filter(|data| !data.is_empty()), trailers: None }
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
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match self.data.take() {
            Some(data) => Some(Frame::data(data)),
            None => self.trailers.take().map(Frame::trailers),
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
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
}
