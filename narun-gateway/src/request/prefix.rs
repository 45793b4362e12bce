//! How the body of a request begins that may be too long for one message.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{HeaderMap, header, request};
use narun_core::Failure;
use narun_nats::body::Joined;

use super::failures::{body_failed, too_large};
use crate::body::BoxError;

/// What a REQUEST has beside what [`head_len`] counts, at most: numbers, the fields that a gateway adds, CBOR.
const ALLOWANCE: usize = 1024;

/// The body of a request, as far as it goes with the request's head.
#[derive(Debug)]
pub(super) struct Beginning<B> {
    /// The first bytes.
    pub(super) inline: Bytes,
    /// What has come besides, for which there is no room.
    pub(super) more: Bytes,
    /// What is still to come; none if that is all.
    pub(super) body: Option<Pin<Box<B>>>,
    pub(super) trailers: Option<HeaderMap>,
}

impl<B> Beginning<B> {
    /// A body that is there whole.
    pub(super) const fn whole(inline: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self { inline, more: Bytes::new(), body: None, trailers }
    }
}

/// Takes of a body what is there without waiting, as much as there is room for.
#[derive(Debug)]
pub(super) struct Start<B> {
    body: Option<Pin<Box<B>>>,
    inline: Joined,
    more: Bytes,
    trailers: Option<HeaderMap>,
    room: usize,
    limit: usize,
    /// Whether the next pause is the end of the beginning.
    looked: bool,
}

impl<B> Start<B> {
    /// Takes up to `room` bytes of a body that may have `limit`.
    pub(super) fn new(body: B, room: usize, limit: usize) -> Self {
        Self {
            body: Some(Box::pin(body)),
            inline: Joined::default(),
            more: Bytes::new(),
            trailers: None,
            room,
            limit,
            looked: false,
        }
    }

    fn push(&mut self, mut data: Bytes) {
        let fits = data.split_to(data.len().min(self.room.saturating_sub(self.inline.received())));
        self.more = data;
        self.inline.push(fits);
    }

    fn finish(&mut self) -> Beginning<B> {
        let (more, body) = (std::mem::take(&mut self.more), self.body.take());
        Beginning { inline: self.inline.take(), more, body, trailers: self.trailers.take() }
    }
}

impl<B> Start<B>
where
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    /// Takes nothing: the client waits to be told that it may send.
    pub(super) fn untouched(&mut self) -> Beginning<B> {
        self.finish()
    }

    /// Ready once there is no room for more, or nothing more without waiting.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Beginning<B>, Failure>> {
        loop {
            let room = self.inline.received() < self.room && self.more.is_empty();
            let Some(body) = self.body.as_mut().filter(|_| room) else {
                return Poll::Ready(Ok(self.finish()));
            };
            let frame = match body.is_end_stream() {
                true => None,
                false => match body.as_mut().poll_frame(cx) {
                    Poll::Ready(frame) => frame,
                    // Servers fetch what their connection has only when they are asked, so they get one more turn.
                    Poll::Pending if !self.looked => {
                        self.looked = true;
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Poll::Pending => return Poll::Ready(Ok(self.finish())),
                },
            };
            self.looked = false;
            match frame.transpose().map_err(body_failed)?.map(http_body::Frame::into_data) {
                Some(Ok(mut data)) => {
                    if data.remaining() > self.limit - self.inline.received() {
                        return Poll::Ready(Err(too_large(self.limit)));
                    }
                    self.push(data.copy_to_bytes(data.remaining()));
                }
                Some(Err(frame)) => {
                    self.trailers = frame.into_trailers().ok();
                    self.body = None;
                }
                None => self.body = None,
            }
        }
    }
}

/// About how many bytes the head of a REQUEST takes; rather more.
pub(super) fn head_len(parts: &request::Parts) -> usize {
    let fields = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 6);
    let authority = parts.uri.authority().map_or(0, |authority| authority.as_str().len());
    ALLOWANCE
        + authority
        + parts.uri.path().len()
        + parts.uri.query().map_or(0, str::len)
        + fields.sum::<usize>()
}

/// How long the body will be, if that is known.
pub(super) fn announced<B: http_body::Body>(parts: &request::Parts, body: &B) -> Option<u64> {
    let field = || parts.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    body.size_hint().exact().or_else(field)
}

#[cfg(test)]
mod tests;
