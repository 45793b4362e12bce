//! How a body begins: what of it goes with the head.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body;
use narun_nats::body::Joined;
use pin_project::pin_project;

/// A body of which first what is there at once is taken, then the rest, part by part.
///
/// What its `size_hint` promises to be no longer than the limit is waited for. A body of one piece is not copied.
#[pin_project]
pub(crate) struct Opening<B> {
    #[pin]
    body: B,
    limit: usize,
    beginning: Joined,
}

/// The next part of a body.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) data: Bytes,
    /// Whether it was the last one, which alone has trailers.
    pub(crate) end: bool,
    pub(crate) trailers: Option<HeaderMap>,
}

/// How a body begins.
#[derive(Debug)]
pub(crate) struct Beginning {
    /// Up to the limit.
    pub(crate) data: Bytes,
    /// What has come and is over the limit; the end, if it has come, is behind it.
    pub(crate) rest: Part,
}

impl<B: Body> Opening<B> {
    pub(crate) fn new(body: B, limit: usize) -> Self {
        Self { body, limit, beginning: Joined::default() }
    }

    /// What is there at once, or all if it is known to be little.
    pub(crate) fn poll_beginning(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Beginning, B::Error>> {
        loop {
            let received = self.beginning.received();
            let part = match self.as_mut().poll_part(cx) {
                Poll::Ready(part) => part?,
                Poll::Pending if self.is_little(received) => return Poll::Pending,
                Poll::Pending => Part::default(),
            };
            let Part { mut data, end, trailers } = part;
            let room = self.limit - received;
            let is_pause = data.is_empty() && !end;
            let fitting = data.split_to(data.len().min(room));
            let is_full = fitting.len() == room;
            let beginning = self.as_mut().project().beginning;
            beginning.push(fitting);
            if end || is_full || is_pause {
                let rest = Part { data, end, trailers };
                return Poll::Ready(Ok(Beginning { data: beginning.take(), rest }));
            }
        }
    }

    /// The next part, after the beginning.
    pub(crate) fn poll_part(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Part, B::Error>> {
        let mut body = self.project().body;
        loop {
            let frame = match body.is_end_stream() {
                true => None,
                false => std::task::ready!(body.as_mut().poll_frame(cx)),
            };
            let Some(frame) = frame else {
                return Poll::Ready(Ok(Part { end: true, ..Part::default() }));
            };
            match frame?.into_data() {
                Ok(mut data) => {
                    let (data, end) = (data.copy_to_bytes(data.remaining()), body.is_end_stream());
                    if end || !data.is_empty() {
                        return Poll::Ready(Ok(Part { data, end, trailers: None }));
                    }
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        return Poll::Ready(Ok(Part {
                            data: Bytes::new(),
                            end: true,
                            trailers: Some(trailers),
                        }));
                    }
                }
            }
        }
    }

    /// Whether all of it is going to fit.
    fn is_little(&self, received: usize) -> bool {
        let left = self.body.size_hint().exact();
        left.is_some_and(|left| left.saturating_add(received as u64) <= self.limit as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::pin;

    use futures::task::noop_waker_ref;
    use futures::{StreamExt, stream};
    use http_body::{Frame, SizeHint};
    use http_body_util::{Full, StreamBody};

    use super::*;

    /// Pieces, of which those that are empty stand for a pause; afterwards it is over, or pauses for ever.
    fn body(pieces: &[&'static str], ends: bool) -> impl Body<Data = Bytes, Error = Infallible> {
        let frames: Vec<_> = pieces.iter().map(|piece| Frame::data(Bytes::from(*piece))).collect();
        let tail = match ends {
            true => stream::empty().boxed(),
            false => stream::pending().boxed(),
        };
        StreamBody::new(stream::iter(frames).chain(tail).map(Ok))
    }

    fn begin<B: Body<Error = Infallible>>(body: B, limit: usize) -> Poll<Beginning> {
        let mut opening = pin!(Opening::new(body, limit));
        opening
            .as_mut()
            .poll_beginning(&mut Context::from_waker(noop_waker_ref()))
            .map(|Ok(beginning)| beginning)
    }

    fn is(begun: Poll<Beginning>, data: &str, rest: &str, end: bool) {
        let Poll::Ready(beginning) = begun else { panic!("it has not begun") };
        assert_eq!((&beginning.data[..], &beginning.rest.data[..]), (data.as_bytes(), rest.as_bytes()));
        assert_eq!(beginning.rest.end, end);
    }

    #[test]
    fn takes_what_is_there_at_once_up_to_the_limit() {
        is(begin(body(&[], false), 4), "", "", false);
        is(begin(body(&["ab"], false), 4), "ab", "", false);
        is(begin(body(&["ab", "", "c"], true), 4), "abc", "", true);
        is(begin(body(&["ab", "cd", "ef"], true), 4), "abcd", "", false);
        is(begin(body(&["abc", "def", "g"], true), 4), "abcd", "ef", false);
        is(begin(Full::new(Bytes::from("abcdef")), 4), "abcd", "ef", true);
        is(begin(Full::new(Bytes::from("abcd")), 4), "abcd", "", true);
    }

    #[test]
    fn waits_for_what_is_known_to_fit() {
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

        assert!(begin(Sized(4), 4).is_pending());
        is(begin(Sized(5), 4), "", "", false);
    }

    #[test]
    fn does_not_copy_a_single_piece() {
        let data = Bytes::from(vec![7; 100]);
        let Poll::Ready(beginning) = begin(Full::new(data.clone()), 40) else { panic!("it has not begun") };
        assert_eq!(beginning.data.as_ptr(), data.as_ptr());
        assert_eq!(beginning.rest.data.as_ptr(), data.slice(40..).as_ptr());
    }
}
