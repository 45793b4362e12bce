use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use pin_project::pin_project;

use super::Segments;

/// A future that collects a whole body, up to a limit. A body of one piece is not copied.
#[derive(Debug)]
#[pin_project]
pub struct Collect<B> {
    #[pin]
    body: B,
    limit: usize,
    data: Segments,
    trailers: Option<HeaderMap>,
}

/// Why a body was not collected.
#[derive(Debug)]
pub enum CollectError<E> {
    /// It is over the limit, by its `size_hint` or by the bytes received.
    TooLarge,
    /// It failed.
    Body(E),
}

impl<B> Collect<B> {
    /// Collects at most `limit` bytes.
    pub fn new(body: B, limit: usize) -> Self {
        Self { body, limit, data: Segments::default(), trailers: None }
    }

    /// How many bytes were received.
    pub fn received(&self) -> usize {
        self.data.received()
    }

    /// The most bytes that it may have.
    pub const fn limit(&self) -> usize {
        self.limit
    }
}

impl<B: http_body::Body> Future for Collect<B> {
    type Output = Result<(Bytes, Option<HeaderMap>), CollectError<B::Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let received = self.received();
            let this = self.as_mut().project();
            let announced = this.body.size_hint().lower();
            if (received as u64).saturating_add(announced) > *this.limit as u64 {
                return Poll::Ready(Err(CollectError::TooLarge));
            }
            let frame = if this.body.is_end_stream() { None } else { ready!(this.body.poll_frame(cx)) };
            let Some(frame) = frame else { break };
            match frame.map_err(CollectError::Body)?.into_data() {
                Ok(data) => this.data.push(data),
                Err(frame) => *this.trailers = frame.into_trailers().ok(),
            }
        }
        let this = self.project();
        Poll::Ready(Ok((this.data.take(), this.trailers.take())))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::executor::block_on;
    use futures::stream;
    use http::HeaderValue;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;

    fn pieces(
        pieces: &[&'static str],
    ) -> StreamBody<impl futures::Stream<Item = Result<Frame<Bytes>, Infallible>>> {
        let frames: Vec<_> =
            pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))).collect();
        StreamBody::new(stream::iter(frames))
    }

    #[test]
    fn pieces_are_joined_and_trailers_kept() {
        let trailers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("x"))]);
        let mut frames = vec![Ok::<_, Infallible>(Frame::trailers(trailers.clone()))];
        for piece in ["c", "", "b", "a", ""] {
            frames.insert(0, Ok(Frame::data(Bytes::from_static(piece.as_bytes()))));
        }
        let collected = block_on(Collect::new(StreamBody::new(stream::iter(frames)), 3)).expect("fits");
        assert_eq!(collected, (Bytes::from_static(b"abc"), Some(trailers)));
    }

    #[test]
    fn a_single_piece_is_not_copied() {
        let data = Bytes::from(vec![7; 100]);
        let (collected, _) = block_on(Collect::new(Full::new(data.clone()), 100)).expect("fits");
        assert_eq!(collected.as_ptr(), data.as_ptr());
    }

    #[test]
    fn a_body_over_the_limit_is_refused_by_its_hint_and_by_its_bytes() {
        assert!(matches!(
            block_on(Collect::new(Full::new(Bytes::from(vec![0; 4])), 3)),
            Err(CollectError::TooLarge)
        ));
        assert!(matches!(block_on(Collect::new(pieces(&["ab", "cd"]), 3)), Err(CollectError::TooLarge)));
        assert!(block_on(Collect::new(pieces(&["ab", "c"]), 3)).is_ok());
    }
}
