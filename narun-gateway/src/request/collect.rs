//! Bodies of direct requests that are collected whole, because they are short.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, request};
use narun_core::{ExchangeId, Failure, FailureKind, Time};
use narun_nats::Timer;
use narun_nats::body::{Collect, CollectError, LeastRate};
use narun_nats::inbox::Endpoint;
use pin_project::pin_project;

use super::failures::{body_failed, too_large};
use crate::body::BoxError;

/// A request whose body is being collected.
#[derive(Debug)]
#[pin_project]
pub(super) struct Collecting<B> {
    pub(super) id: ExchangeId,
    pub(super) parts: request::Parts,
    #[pin]
    body: Collect<B>,
    /// How many bytes were received when the deadline was last moved.
    progress: usize,
    #[pin]
    timer: Timer,
    started: Time,
    max_pause: Duration,
    least_rate: LeastRate,
    deadline: Time,
}

impl<B> Collecting<B> {
    /// Collects at most `limit` bytes, with pauses of at most `max_pause`, at a rate of at least `least_rate`.
    pub(super) fn new(
        id: ExchangeId,
        parts: request::Parts,
        body: B,
        limit: usize,
        endpoint: &Endpoint,
        (max_pause, least_rate): (Duration, LeastRate),
    ) -> Self {
        let started = endpoint.now();
        Self {
            id,
            parts,
            body: Collect::new(body, limit),
            progress: 0,
            timer: endpoint.timer(),
            started,
            max_pause,
            least_rate,
            deadline: started + max_pause.min(least_rate.limit(0)),
        }
    }
}

impl<B> Collecting<B>
where
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    /// Ready with the whole body and its trailers.
    ///
    /// # Errors
    ///
    /// The body is over the limit, fails, pauses for too long or is too slow.
    pub(super) fn poll_whole(
        self: Pin<&mut Self>,
        endpoint: &Endpoint,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Bytes, Option<HeaderMap>), Failure>> {
        let mut this = self.project();
        if let Poll::Ready(collected) = this.body.as_mut().poll(cx) {
            return Poll::Ready(collected.map_err(|error| match error {
                CollectError::TooLarge => too_large(this.body.limit()),
                CollectError::Body(error) => body_failed(error),
            }));
        }
        if *this.progress != this.body.received() {
            *this.progress = this.body.received();
            let by_rate = *this.started + this.least_rate.limit(*this.progress as u64);
            *this.deadline = by_rate.min(endpoint.now() + *this.max_pause);
        }
        ready!(this.timer.as_mut().poll_until(cx, *this.deadline));
        Poll::Ready(Err(FailureKind::RequestTimedOut.into()))
    }

    /// Takes the request's head. Must be called once.
    pub(super) fn take_parts(self: Pin<&mut Self>) -> request::Parts {
        let (empty, ()) = http::Request::new(()).into_parts();
        std::mem::replace(self.project().parts, empty)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;
    use std::pin::pin;

    use futures::future::BoxFuture;
    use futures::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use narun_core::Limits;
    use narun_nats::inbox::ReplyPolicy;
    use narun_nats::{Link, OutgoingMessage, PublishError};
    use tokio::time::{Instant, sleep};

    use super::*;

    /// Publishes nothing.
    struct NoLink;

    impl Link for NoLink {
        fn try_publish(&self, _message: &OutgoingMessage<'_>) -> Result<(), PublishError> {
            Err(PublishError::Closed)
        }

        fn publish(&self, _message: OutgoingMessage<'_>) -> BoxFuture<'static, Result<(), PublishError>> {
            Box::pin(std::future::ready(Err(PublishError::Closed)))
        }

        fn is_connected(&self) -> bool {
            true
        }

        fn epoch(&self) -> u64 {
            1
        }

        fn max_payload(&self) -> usize {
            1 << 20
        }
    }

    /// Collects 20 pieces of this length, each after this pause. Returns how many seconds it took, and the failure.
    async fn collect(length: usize, pause: u64, least_rate: LeastRate) -> (u64, Option<FailureKind>) {
        let endpoint = Endpoint::new(NoLink, "_INBOX", ReplyPolicy::default(), Limits::default(), |_| {});
        let pieces = stream::unfold(0, move |number| async move {
            if number == 20 {
                return None;
            }
            sleep(Duration::from_secs(pause)).await;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from(vec![0; length]))), number + 1))
        });
        let (id, parts) = (ExchangeId::from_bytes([1; 16]), http::Request::new(()).into_parts().0);
        let pace = (Duration::from_secs(15), least_rate);
        let (body, began) = (StreamBody::new(pieces), Instant::now());
        let mut collecting = pin!(Collecting::new(id, parts, body, 1 << 20, &endpoint, pace));
        let whole = poll_fn(|cx| collecting.as_mut().poll_whole(&endpoint, cx)).await;
        (began.elapsed().as_secs(), whole.err().map(|failure| failure.kind()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_too_slow_times_out() {
        let (rate, late) = (LeastRate::new(1024), Some(FailureKind::RequestTimedOut));
        assert_eq!(collect(2048, 3, rate).await, (60, None));
        assert_eq!(collect(1, 14, rate).await, (30, late), "a byte now and then");
        assert_eq!(collect(2048, 16, rate).await, (15, late), "a long pause");
        assert_eq!(collect(1, 14, LeastRate::NONE).await, (280, None));
    }
}
