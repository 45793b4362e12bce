use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body;
use pin_project::pin_project;

use super::Segments;

/// Takes the first bytes of a body, those that go with the head, and then the body part by part.
///
/// A body of one piece is not copied.
#[derive(Debug)]
#[pin_project]
pub struct Prefix<B> {
    #[pin]
    body: B,
    room: usize,
    inline: Segments,
    looks_twice: bool,
    /// Whether it was polled again at this pause.
    looked: bool,
}

/// The first bytes of a body.
#[derive(Debug, Default)]
pub struct BodyPrefix {
    /// As many bytes as there is room for.
    pub inline: Bytes,
    /// What was received beyond them.
    pub rest: BodyPart,
}

/// A part of a body.
#[derive(Debug, Default)]
pub struct BodyPart {
    /// The bytes. May be empty.
    pub data: Bytes,
    /// Whether this is the last part. Only the last part has trailers.
    pub end: bool,
    /// The trailers.
    pub trailers: Option<HeaderMap>,
}

impl BodyPrefix {
    /// The prefix that is a whole body.
    pub const fn whole(inline: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self { inline, rest: BodyPart { data: Bytes::new(), end: true, trailers } }
    }

    /// Whether the inline bytes are the whole body.
    pub const fn is_whole(&self) -> bool {
        self.rest.end && self.rest.data.is_empty()
    }
}

impl<B> Prefix<B> {
    /// Takes up to `room` bytes inline.
    pub fn new(body: B, room: usize) -> Self {
        Self { body, room, inline: Segments::default(), looks_twice: false, looked: false }
    }

    /// Polls once more at a pause before it takes that for the end of the prefix. For bodies that are read from a connection:
    /// servers fetch from it only after they were polled.
    #[must_use]
    pub fn looking_twice(mut self) -> Self {
        self.looks_twice = true;
        self
    }

    /// The body without the parts that were taken.
    pub fn into_inner(self) -> B {
        self.body
    }
}

impl<B: Body> Prefix<B> {
    /// Ready when there is no room for more bytes, when the body pauses or when it has ended.
    ///
    /// A pause does not end the prefix of a body whose `size_hint` says that all of it will fit.
    pub fn poll_prefix(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<BodyPrefix, B::Error>> {
        loop {
            let part = match self.as_mut().poll_part(cx) {
                Poll::Ready(part) => part?,
                Poll::Pending if self.will_fit() => return Poll::Pending,
                Poll::Pending if self.looks_twice && !self.looked => {
                    *self.project().looked = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Pending => BodyPart::default(),
            };
            let BodyPart { mut data, end, trailers } = part;
            let room = self.room - self.inline.received();
            let is_pause = data.is_empty() && !end;
            let fitting = data.split_to(data.len().min(room));
            let is_full = fitting.len() == room;
            let this = self.as_mut().project();
            *this.looked = false;
            this.inline.push(fitting);
            if end || is_full || is_pause {
                let rest = BodyPart { data, end, trailers };
                return Poll::Ready(Ok(BodyPrefix { inline: this.inline.take(), rest }));
            }
        }
    }

    /// Ready with the next part, which is empty only at the end.
    pub fn poll_part(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<BodyPart, B::Error>> {
        let mut body = self.project().body;
        loop {
            let frame = match body.is_end_stream() {
                true => None,
                false => std::task::ready!(body.as_mut().poll_frame(cx)),
            };
            let Some(frame) = frame else {
                return Poll::Ready(Ok(BodyPart { end: true, ..BodyPart::default() }));
            };
            match frame?.into_data() {
                Ok(mut data) => {
                    let (data, end) = (data.copy_to_bytes(data.remaining()), body.is_end_stream());
                    if end || !data.is_empty() {
                        return Poll::Ready(Ok(BodyPart { data, end, trailers: None }));
                    }
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        let trailers = Some(trailers);
                        return Poll::Ready(Ok(BodyPart { data: Bytes::new(), end: true, trailers }));
                    }
                }
            }
        }
    }

    fn will_fit(&self) -> bool {
        let left = self.body.size_hint().exact();
        left.is_some_and(|left| left.saturating_add(self.inline.received() as u64) <= self.room as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::pin;

    use futures::task::noop_waker_ref;
    use futures::{StreamExt, stream};
    use http::HeaderValue;
    use http::header::ETAG;
    use http_body::{Frame, SizeHint};
    use http_body_util::{Full, StreamBody};

    use super::*;

    /// A body of these pieces that ends, or pauses for ever. Pieces may be empty.
    fn body(pieces: &[&'static str], ends: bool) -> impl Body<Data = Bytes, Error = Infallible> {
        let frames: Vec<_> = pieces.iter().map(|piece| Frame::data(Bytes::from(*piece))).collect();
        let tail = match ends {
            true => stream::empty().boxed(),
            false => stream::pending().boxed(),
        };
        StreamBody::new(stream::iter(frames).chain(tail).map(Ok))
    }

    fn poll<B: Body<Error = Infallible>>(prefix: Pin<&mut Prefix<B>>) -> Poll<BodyPrefix> {
        prefix.poll_prefix(&mut Context::from_waker(noop_waker_ref())).map(|Ok(prefix)| prefix)
    }

    fn prefix_of<B: Body<Error = Infallible>>(body: B, room: usize) -> Poll<BodyPrefix> {
        poll(pin!(Prefix::new(body, room)))
    }

    fn is(prefix: Poll<BodyPrefix>, inline: &str, rest: &str, end: bool) {
        let Poll::Ready(prefix) = prefix else { panic!("pending") };
        assert_eq!((&prefix.inline[..], &prefix.rest.data[..]), (inline.as_bytes(), rest.as_bytes()));
        assert_eq!(prefix.rest.end, end);
    }

    #[test]
    fn it_takes_what_is_ready_up_to_the_room() {
        is(prefix_of(body(&[], false), 4), "", "", false);
        is(prefix_of(body(&["ab"], false), 4), "ab", "", false);
        is(prefix_of(body(&["ab", "", "c"], true), 4), "abc", "", true);
        is(prefix_of(body(&["ab", "cd", "ef"], true), 4), "abcd", "", false);
        is(prefix_of(body(&["abc", "def", "g"], true), 4), "abcd", "ef", false);
        is(prefix_of(body(&["abcdef"], true), 3), "abc", "def", false);
        is(prefix_of(Full::new(Bytes::from("abcdef")), 4), "abcd", "ef", true);
        is(prefix_of(Full::new(Bytes::from("abcd")), 4), "abcd", "", true);
    }

    #[test]
    fn it_takes_trailers() {
        let trailers = HeaderMap::from_iter([(ETAG, HeaderValue::from_static("x"))]);
        let frames = [Frame::data(Bytes::from("ab")), Frame::trailers(trailers.clone())];
        let body = StreamBody::new(stream::iter(frames.map(Ok)));
        let Poll::Ready(prefix) = prefix_of(body, 4) else { panic!("pending") };
        assert!(prefix.is_whole());
        assert_eq!(prefix.rest.trailers, Some(trailers));
    }

    #[test]
    fn it_waits_for_a_body_that_will_fit() {
        struct Sized(u64);

        impl Body for Sized {
            type Data = Bytes;
            type Error = Infallible;

            fn poll_frame(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
                Poll::Pending
            }

            fn size_hint(&self) -> SizeHint {
                SizeHint::with_exact(self.0)
            }
        }

        assert!(prefix_of(Sized(4), 4).is_pending());
        is(prefix_of(Sized(5), 4), "", "", false);
    }

    #[test]
    fn it_looks_twice_at_each_pause_if_asked_to() {
        let mut polls = 0;
        let pausing = stream::poll_fn(move |_| {
            polls += 1;
            match polls {
                1 | 3 | 5 | 6 => Poll::Pending,
                _ => Poll::Ready(Some(Ok(Frame::data(Bytes::from("a"))))),
            }
        });
        let mut prefix = pin!(Prefix::new(StreamBody::new(pausing), 10).looking_twice());
        for _ in 0..3 {
            assert!(poll(prefix.as_mut()).is_pending());
        }
        is(poll(prefix), "aa", "", false);
    }

    #[test]
    fn a_single_piece_is_not_copied() {
        let data = Bytes::from(vec![7; 100]);
        let Poll::Ready(prefix) = prefix_of(Full::new(data.clone()), 40) else { panic!("pending") };
        assert_eq!(prefix.inline.as_ptr(), data.as_ptr());
        assert_eq!(prefix.rest.data.as_ptr(), data.slice(40..).as_ptr());
    }
}
