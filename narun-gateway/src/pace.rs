//! How fast a client has to send a body that is received whole.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::Frame;
use narun_core::FailureKind;
use narun_nats::body::LeastRate;
use tokio::time::{Instant, timeout};

use crate::body::BoxError;

/// The limits on receiving a body. All count the time that the gateway waits for the client, not what it needs itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PaceLimits {
    /// The longest pause.
    pub(crate) max_pause: Duration,
    pub(crate) least_rate: LeastRate,
    /// The longest time for the whole body.
    pub(crate) total: Duration,
}

/// Receives a body within limits.
#[derive(Debug)]
pub(crate) struct Pace {
    limits: PaceLimits,
    waited: Duration,
    received: u64,
}

impl Pace {
    pub(crate) const fn new(limits: PaceLimits) -> Self {
        Self { limits, waited: Duration::ZERO, received: 0 }
    }

    /// Waits for the next body frame. Returns `None` at the end. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`FailureKind::RequestTimedOut`] if the client is too slow, [`FailureKind::BadRequest`] if the body breaks off.
    pub(crate) async fn next<B>(&mut self, body: &mut B) -> Result<Option<Frame<Bytes>>, FailureKind>
    where
        B: http_body::Body + Unpin,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Ok(None);
        }
        let began = Instant::now();
        let mut body = Pin::new(body);
        let frame = timeout(self.left(), poll_fn(|cx| body.as_mut().poll_frame(cx))).await;
        self.waited += began.elapsed();
        let Some(frame) = frame.map_err(|_| FailureKind::RequestTimedOut)? else { return Ok(None) };
        let frame = frame.map_err(|error| {
            let error: BoxError = error.into();
            tracing::debug!(%error, "the request body failed");
            FailureKind::BadRequest
        })?;
        let frame = frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
        self.received += frame.data_ref().map_or(0, Bytes::len) as u64;
        Ok(Some(frame))
    }

    /// How long the client has been waited for in all.
    pub(crate) const fn waited(&self) -> Duration {
        self.waited
    }

    /// How long the client may take for the next bytes.
    fn left(&self) -> Duration {
        let PaceLimits { max_pause, least_rate, total } = self.limits;
        max_pause.min(least_rate.limit(self.received).min(total).saturating_sub(self.waited))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http_body_util::StreamBody;
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMITS: PaceLimits = PaceLimits {
        max_pause: Duration::from_secs(15),
        least_rate: LeastRate::new(100),
        total: Duration::from_secs(300),
    };

    /// Receives pieces of so many bytes, each after this pause. Returns how long it took, and the failure.
    async fn receive(
        limits: PaceLimits,
        pause: Duration,
        length: usize,
        count: usize,
    ) -> (u64, Option<FailureKind>) {
        let pieces = stream::unfold(0, |number| async move {
            if number == count {
                return None;
            }
            sleep(pause).await;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from(vec![0; length]))), number + 1))
        });
        let (mut body, mut pace, began) =
            (Box::pin(StreamBody::new(pieces)), Pace::new(limits), Instant::now());
        loop {
            match pace.next(&mut body).await {
                Ok(Some(_)) => {}
                Ok(None) => return (began.elapsed().as_secs(), None),
                Err(failure) => return (began.elapsed().as_secs(), Some(failure)),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_too_slow_times_out() {
        let late = Some(FailureKind::RequestTimedOut);
        // Fast enough.
        assert_eq!(receive(LIMITS, SECOND, 100, 200).await, (200, None));
        // A byte now and then.
        assert_eq!(receive(LIMITS, 5 * SECOND, 1, 1000).await, (30, late));
        // Slower than the least rate after a while.
        assert_eq!(receive(LIMITS, SECOND, 50, 1000).await, (59, late));
        // A long pause.
        assert_eq!(receive(LIMITS, 20 * SECOND, 1_000_000, 2).await, (15, late));
        // Fast, without an end.
        assert_eq!(receive(LIMITS, SECOND, 10_000, 1000).await, (300, late));
        assert_eq!(
            receive(PaceLimits { least_rate: LeastRate::NONE, ..LIMITS }, 5 * SECOND, 1, 50).await,
            (250, None)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_gateway_needs_itself_does_not_count() {
        let pieces = stream::iter([1, 1].map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x")))));
        let (mut body, mut pace) = (StreamBody::new(pieces), Pace::new(LIMITS));
        assert!(pace.next(&mut body).await.is_ok_and(|frame| frame.is_some()));
        sleep(1000 * SECOND).await;
        assert!(pace.next(&mut body).await.is_ok_and(|frame| frame.is_some()));
        assert!(pace.next(&mut body).await.is_ok_and(|frame| frame.is_none()));
    }
}
