use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::HttpLimits;

/// The connection of a client, which ends if no request arrives in time.
///
/// hyper's limit on heads includes the time between two requests, and its detection of HTTP/2 has no limit. So this is one
/// for both, below hyper: to it the client seems to have closed the connection.
pub(super) struct Watched<S> {
    stream: S,
    limits: HttpLimits,
    requests: Requests,
    /// How many requests had begun at the last read.
    begun: usize,
    waiting: Waiting,
    timer: Pin<Box<Sleep>>,
}

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// The response to a request.
    Response,
    /// The first byte of a request.
    Request,
    /// The rest of a head.
    Head,
}

/// The requests in flight on a connection. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Requests(Arc<RequestsState>);

#[derive(Default)]
struct RequestsState {
    begun: AtomicUsize,
    in_flight: AtomicUsize,
    /// HTTP/2 has frames between requests.
    is_http2: AtomicBool,
    connection: AtomicWaker,
}

/// A request in flight, until this is dropped.
pub(super) struct InFlight(Requests);

impl Requests {
    /// A request has begun.
    pub(super) fn begin(&self, version: http::Version) -> InFlight {
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        self.0.is_http2.store(version == http::Version::HTTP_2, Ordering::Relaxed);
        InFlight(self.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.0.connection.wake();
        }
    }
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, limits: HttpLimits, requests: Requests) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + limits.head));
        Self { stream, limits, requests, begun: 0, waiting: Waiting::Head, timer }
    }

    /// Waits for the next request, or for the rest of its head.
    fn wait(&mut self, waiting: Waiting) {
        let limit = if waiting == Waiting::Head { self.limits.head } else { self.limits.keep_alive };
        self.waiting = waiting;
        self.timer.as_mut().reset(Instant::now() + limit);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // Registered first, so that the end of the last request is not missed.
        this.requests.0.connection.register(cx.waker());
        let requests = &this.requests.0;
        let is_idle = requests.in_flight.load(Ordering::Acquire) == 0;
        let begun = requests.begun.load(Ordering::Relaxed);
        if begun != this.begun {
            this.begun = begun;
            this.waiting = Waiting::Response;
        }
        if is_idle && this.waiting == Waiting::Response {
            this.wait(Waiting::Request);
        }
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                let is_http1 = !this.requests.0.is_http2.load(Ordering::Relaxed);
                if this.waiting == Waiting::Request && is_http1 {
                    this.wait(Waiting::Head);
                }
                Poll::Ready(read)
            }
            Poll::Pending if this.waiting == Waiting::Response => Poll::Pending,
            // Nothing was read: the end.
            Poll::Pending => this.timer.as_mut().poll(cx).map(Ok),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
