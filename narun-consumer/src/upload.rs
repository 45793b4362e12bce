use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_nats::Subject;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};
use narun_core::exchange::Callee;
use narun_core::{BodyError, BodyErrorKind};
use narun_nats::drive::Incoming;

/// A request's body that comes piece by piece, held against the length that the request tells.
pub(crate) struct Upload {
    incoming: Incoming<Callee<Subject>>,
    /// How much is still to come, if that is known.
    left: Option<u64>,
}

impl Upload {
    pub(crate) fn new(incoming: Incoming<Callee<Subject>>, fields: &HeaderMap) -> Self {
        let told = fields.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Self { incoming, left: told }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx)).transpose()?;
        if let Some(left) = self.left {
            let came = match &frame {
                Some(frame) => frame.data_ref().map(|data| data.len() as u64),
                None => None,
            };
            let fits = match came {
                Some(came) => left.checked_sub(came),
                None => Some(0).filter(|_| left == 0),
            };
            // Told once: afterwards it is what it is.
            self.left = fits;
            if fits.is_none() {
                return Poll::Ready(Some(Err(BodyErrorKind::Gap.into())));
            }
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map(SizeHint::with_exact).unwrap_or_default()
    }
}
