use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;
use tonic::codegen::StdError;

use crate::state::memory::RequestBytes;
use crate::status;

/// What is held of a message without counting, in bytes.
const SMALL: usize = 16 << 10;

/// The bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// What a compressed byte becomes at most: deflate (RFC 1951) makes 258 bytes of two bits.
const INFLATION: usize = 258 * 4;

/// The body of a request, whose messages are limited in size, time and memory. tonic has a limit of their size too, but
/// with another status.
#[pin_project]
pub(super) struct LimitedBody<B> {
    #[pin]
    body: B,
    messages: Messages,
    /// Whether a call handles each message when it comes. Any other call begins at the end of the body, and its message is
    /// held until then.
    streamed: bool,
    limit: usize,
    /// The bytes of the body that are held.
    held: usize,
    /// What the largest compressed message that is held may become.
    inflated: usize,
    memory: RequestBytes,
    /// When the body must have ended, or its first message if they are streamed. `None` once that is there.
    due: Option<Instant>,
    /// Made when something has to be waited for.
    sleep: Option<Pin<Box<Sleep>>>,
}

/// Finds the messages in a body.
#[derive(Default)]
struct Messages {
    prefix: [u8; PREFIX],
    /// How much of the prefix was read.
    read: usize,
    /// How many bytes of the message are to come.
    left: usize,
    /// The length of the message if it is compressed.
    compressed: usize,
}

/// The lengths of the largest messages in some bytes.
#[derive(Default)]
struct Largest {
    /// Of those that begin there.
    begun: usize,
    /// Of compressed ones that end there.
    compressed: usize,
}

impl<B> LimitedBody<B> {
    pub(super) fn new(body: B, streamed: bool, limit: usize, due: Instant, memory: RequestBytes) -> Self {
        let messages = Messages::default();
        Self { body, messages, streamed, limit, held: 0, inflated: 0, memory, due: Some(due), sleep: None }
    }
}

impl Messages {
    /// Whether all messages so far have come to their end.
    const fn are_complete(&self) -> bool {
        self.left == 0 && self.read == 0
    }

    /// Reads the bytes that come next.
    fn read(&mut self, mut bytes: &[u8]) -> Largest {
        let mut largest = Largest::default();
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            if self.left == 0 {
                largest.compressed = largest.compressed.max(std::mem::take(&mut self.compressed));
            }
            let (prefix, rest) = bytes.split_at(bytes.len().min(PREFIX - self.read));
            self.prefix[self.read..][..prefix.len()].copy_from_slice(prefix);
            self.read += prefix.len();
            bytes = rest;
            if self.read == PREFIX {
                let [flag, length @ ..] = self.prefix;
                self.left = u32::from_be_bytes(length) as usize;
                self.compressed = if flag == 0 { 0 } else { self.left };
                self.read = 0;
                largest.begun = largest.begun.max(self.left);
            }
        }
        largest
    }
}

impl<B> Body for LimitedBody<B>
where
    B: Body,
    B::Error: Into<StdError>,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let body = self.project();
        // Also if more is there: a body of many small messages would put it off.
        if body.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Some(Err(status::late().into())));
        }
        let frame = match body.body.poll_frame(cx) {
            Poll::Ready(Some(frame)) => frame,
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {
                let Some(due) = *body.due else { return Poll::Pending };
                let sleep = body.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
                return sleep.as_mut().poll(cx).map(|()| Some(Err(status::late().into())));
            }
        };
        let frame = frame.map_err(Into::into)?.map_data(|mut data| data.copy_to_bytes(data.remaining()));
        if let Some(data) = frame.data_ref() {
            if *body.streamed && body.messages.are_complete() {
                (*body.held, *body.inflated) = (0, 0);
            }
            let (largest, limit) = (body.messages.read(data), *body.limit);
            if largest.begun > limit {
                return Poll::Ready(Some(Err(status::too_large(largest.begun, limit).into())));
            }
            *body.held += data.len();
            *body.inflated = (*body.inflated).max(largest.compressed.saturating_mul(INFLATION).min(limit));
            if *body.streamed && body.messages.are_complete() {
                *body.held = 0;
                (*body.due, *body.sleep) = (None, None);
            }
            let held = body.held.saturating_add(*body.inflated);
            let counted = if held > SMALL { held } else { 0 };
            if !body.memory.set(counted) {
                let busy = "too many requests are on their way; try again later";
                return Poll::Ready(Some(Err(Status::resource_exhausted(busy).into())));
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
