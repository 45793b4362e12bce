//! The first bytes of a body that may be longer than a frame.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, request};
use narun_core::Failure;
use narun_nats::body::{BodyPrefix, Prefix, content_length};

use super::client_body::ClientBody;
use super::failures::{body_failed, too_large};
use crate::body::BoxError;

/// The most bytes of a REQUEST that [`head_len`] does not count: numbers, the fields that a gateway adds, CBOR.
const ALLOWANCE: usize = 1024;

/// A request's body when its request is sent.
#[derive(Debug)]
pub(super) struct RequestBody<B> {
    /// The bytes that were received.
    pub(super) prefix: BodyPrefix,
    /// The body after them. `None` if they are all.
    pub(super) following: Option<ClientBody<B>>,
}

impl<B> RequestBody<B> {
    /// A body that was received whole.
    pub(super) const fn whole(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self { prefix: BodyPrefix::whole(data, trailers), following: None }
    }
}

/// Takes the first bytes of a body.
#[derive(Debug)]
pub(super) struct RequestPrefix<B> {
    /// `None` once they are taken.
    prefix: Option<Prefix<ClientBody<B>>>,
    limit: usize,
}

impl<B: http_body::Body> RequestPrefix<B> {
    /// Takes up to `room` bytes of a body that may have up to `limit` bytes.
    pub(super) fn new(body: ClientBody<B>, room: usize, limit: usize) -> Self {
        // The byte that is one too many ends the prefix.
        let room = room.min(limit.saturating_add(1));
        Self { prefix: Some(Prefix::new(body, room).looking_twice()), limit }
    }

    /// Takes nothing, for a client that waits for 100 before it sends its body.
    pub(super) fn skip(&mut self) -> RequestBody<B> {
        self.finish(BodyPrefix::default())
    }

    /// Ready when there is no room for more bytes, when the body pauses or when it has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<RequestBody<B>, Failure>>
    where
        B::Error: Into<BoxError>,
    {
        let Some(prefix) = &mut self.prefix else { return Poll::Pending };
        let taken = ready!(Pin::new(prefix).poll_prefix(cx)).map_err(body_failed)?;
        if taken.inline.len() + taken.rest.data.len() > self.limit {
            return Poll::Ready(Err(too_large(self.limit)));
        }
        Poll::Ready(Ok(self.finish(taken)))
    }

    fn finish(&mut self, taken: BodyPrefix) -> RequestBody<B> {
        let following = self.prefix.take().filter(|_| !taken.rest.end).map(Prefix::into_inner);
        RequestBody { prefix: taken, following }
    }
}

/// About how many bytes the head of a REQUEST has, at most.
pub(super) fn head_len(parts: &request::Parts) -> usize {
    let fields = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 6);
    let authority = parts.uri.authority().map_or(0, |authority| authority.as_str().len());
    ALLOWANCE
        + authority
        + parts.uri.path().len()
        + parts.uri.query().map_or(0, str::len)
        + fields.sum::<usize>()
}

/// The length of the body. Returns `None` if neither the body nor `Content-Length` says it.
pub(super) fn announced<B: http_body::Body>(parts: &request::Parts, body: &B) -> Option<u64> {
    body.size_hint().exact().or_else(|| content_length(&parts.headers).ok()?)
}

#[cfg(test)]
mod tests;
