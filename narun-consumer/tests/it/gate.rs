//! Handlers that wait until a test lets them continue, and are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use narun_consumer::Body;
use tokio::sync::Semaphore;

/// A gate at which handlers wait; it counts them.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Inner>);

struct Inner {
    open: Semaphore,
    started: AtomicUsize,
    finished: AtomicUsize,
    dropped: AtomicUsize,
}

/// Counts a handler as finished or dropped.
struct Running<'a> {
    inner: &'a Inner,
    finished: bool,
}

impl Gate {
    /// A closed gate.
    pub(crate) fn new() -> Self {
        let [started, finished, dropped] = [0; 3].map(AtomicUsize::new);
        Self(Arc::new(Inner { open: Semaphore::new(0), started, finished, dropped }))
    }

    /// Lets this many handlers through.
    pub(crate) fn open(&self, handlers: usize) {
        self.0.open.add_permits(handlers);
    }

    pub(crate) fn started(&self) -> usize {
        self.0.started.load(Ordering::SeqCst)
    }

    pub(crate) fn finished(&self) -> usize {
        self.0.finished.load(Ordering::SeqCst)
    }

    /// The number of handlers that were dropped while they waited.
    pub(crate) fn dropped(&self) -> usize {
        self.0.dropped.load(Ordering::SeqCst)
    }

    /// A handler: waits at the gate, then responds with its path.
    pub(crate) async fn handle(
        self,
        request: Request<Body>,
    ) -> Result<Response<Body>, std::convert::Infallible> {
        self.0.started.fetch_add(1, Ordering::SeqCst);
        let mut running = Running { inner: &self.0, finished: false };
        if let Ok(permit) = self.0.open.acquire().await {
            permit.forget();
        }
        running.finished = true;
        Ok(Response::new(Body::from(request.uri().path().to_owned())))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let counter = if self.finished { &self.inner.finished } else { &self.inner.dropped };
        counter.fetch_add(1, Ordering::SeqCst);
    }
}
