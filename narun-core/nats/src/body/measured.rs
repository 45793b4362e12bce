use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use narun_core::{BodyError, BodyErrorKind};

/// A body that has to be as long as its `Content-Length`. Ends with an error if it is shorter or longer.
#[derive(Debug)]
pub struct Measured<B> {
    body: B,
    /// How many bytes are missing. `None` if the length is not known.
    left: Option<u64>,
    mismatch: BodyErrorKind,
    failed: bool,
}

impl<B> Measured<B> {
    /// A body of `length` bytes, or of any length if that is `None`. `mismatch` is the error if it has another length.
    pub const fn new(body: B, length: Option<u64>, mismatch: BodyErrorKind) -> Self {
        Self { body, left: length, mismatch, failed: false }
    }

    /// How many bytes are still to come. Returns `None` if the length is not known.
    pub const fn left(&self) -> Option<u64> {
        self.left
    }

    /// Counts a frame, or the end of the body. Returns `false` if the length is wrong.
    fn count(&mut self, frame: Option<&Frame<Bytes>>) -> bool {
        let Some(left) = &mut self.left else { return true };
        match frame.and_then(Frame::data_ref) {
            Some(data) => match left.checked_sub(data.len() as u64) {
                Some(less) => {
                    *left = less;
                    true
                }
                None => false,
            },
            // Trailers or the end: no data follows.
            None => *left == 0,
        }
    }
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Body for Measured<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
        if !self.count(frame.as_ref()) {
            self.failed = true;
            return Poll::Ready(Some(Err(self.mismatch.into())));
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.failed || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map(SizeHint::with_exact).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::stream;
    use http::HeaderMap;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    /// Reads a body of these pieces and trailers whose `Content-Length` is `length`.
    fn read(pieces: &[&'static str], trailers: bool, length: Option<u64>) -> Result<Bytes, BodyErrorKind> {
        let data = pieces.iter().map(|piece| Frame::data(Bytes::from_static(piece.as_bytes())));
        let trailers = trailers.then(|| Frame::trailers(HeaderMap::new()));
        let frames: Vec<_> = data.chain(trailers).map(Ok).collect();
        let mut body = Measured::new(StreamBody::new(stream::iter(frames)), length, BodyErrorKind::Length);
        block_on(async {
            let mut read = Vec::new();
            while let Some(frame) = body.frame().await {
                match frame.map_err(|error| error.kind()) {
                    Ok(frame) => read.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                    Err(kind) => {
                        assert!(body.frame().await.is_none(), "nothing follows the error");
                        return Err(kind);
                    }
                }
            }
            Ok(read.into())
        })
    }

    #[test]
    fn a_body_of_its_length_passes() {
        for trailers in [false, true] {
            assert_eq!(read(&["ab", "", "c"], trailers, Some(3)), Ok("abc".into()));
            assert_eq!(read(&[], trailers, Some(0)), Ok("".into()));
            assert_eq!(read(&["abc"], trailers, None), Ok("abc".into()));
        }
    }

    #[test]
    fn another_length_is_an_error() {
        for trailers in [false, true] {
            assert_eq!(read(&["ab", "c"], trailers, Some(4)), Err(BodyErrorKind::Length));
            assert_eq!(read(&["ab", "c"], trailers, Some(2)), Err(BodyErrorKind::Length));
            assert_eq!(read(&[], trailers, Some(1)), Err(BodyErrorKind::Length));
        }
    }
}
