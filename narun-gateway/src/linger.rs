use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Buf;
use http_body::Frame;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::task::coop::consume_budget;
use tokio::time::timeout;

use crate::held::BodyBudget;

/// The memory of a body that is read on: hyper's buffer.
const BUFFER: usize = 8 * 1024;

/// How long a gateway reads the rest of an HTTP/1 request's body after an early response, and discards it.
///
/// A server that closes a connection while the client still sends resets it, and the client may lose the response. So the
/// gateway reads on for a while, as RFC 9112, section 9.6, recommends and nginx's `lingering_close` does. If the body ends
/// within the limits, the connection can be reused; otherwise the server closes it. Each such body counts as 8 KiB in
/// [`GatewayBuilder::body_budget`](crate::GatewayBuilder::body_budget).
///
/// It applies to all early responses of the gateway: its own failures, and responses of apps that do not read the whole body.
/// Not to HTTP/2, where the server ends the stream with NO_ERROR (RFC 9113, section 8.1), nor to a client that waits for 100
/// (RFC 9110, section 10.1.1). See [`GatewayBuilder::linger`](crate::GatewayBuilder::linger).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "settings do nothing by themselves"]
pub struct Linger {
    time: Duration,
    pause: Duration,
    bytes: u64,
    bodies: usize,
}

impl Linger {
    /// The defaults: 30 s, pauses of 5 s, 64 MiB, 1024 bodies.
    pub const fn new() -> Self {
        Self {
            time: Duration::from_secs(30),
            pause: Duration::from_secs(5),
            bytes: 64 * 1024 * 1024,
            bodies: 1024,
        }
    }

    /// Reads nothing after an early response.
    pub const fn off() -> Self {
        Self { bodies: 0, ..Self::new() }
    }

    /// The longest time to read on. Default 30 s.
    pub const fn time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// The longest wait for the next bytes. Default 5 s.
    pub const fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The most bytes to read of a body. Default 64 MiB.
    pub const fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// The most bodies to read at the same time, as long as half of the budget is left; further ones are not read. Default 1024.
    pub const fn bodies(mut self, bodies: usize) -> Self {
        self.bodies = bodies;
        self
    }
}

impl Default for Linger {
    fn default() -> Self {
        Self::new()
    }
}

/// The bodies that a gateway reads on. Their tasks are aborted when it is dropped.
pub(crate) struct Lingering {
    settings: Linger,
    places: Arc<Semaphore>,
    budget: BodyBudget,
    tasks: Mutex<JoinSet<()>>,
    runtime: Handle,
}

impl Lingering {
    /// Must be called within a tokio runtime.
    pub(crate) fn new(settings: Linger, budget: BodyBudget) -> Self {
        let places = Arc::new(Semaphore::new(settings.bodies.min(Semaphore::MAX_PERMITS)));
        Self { settings, places, budget, tasks: Mutex::default(), runtime: Handle::current() }
    }

    /// Reads and discards the rest of a body in a task, within the limits, and drops it.
    pub(crate) fn read<B>(&self, body: Pin<Box<B>>)
    where
        B: http_body::Body + Send + 'static,
    {
        let mut held = self.budget.hold();
        let place = self.places.clone().try_acquire_owned().ok();
        // The other half of the budget is for bodies that are wanted.
        let place = place.filter(|_| held.try_grow(BUFFER) && !held.is_short());
        let Some(place) = place else {
            return tracing::debug!("too many bodies are read after an early response");
        };
        let settings = self.settings;
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        let task = async move {
            let _ = timeout(settings.time, discard(body, settings)).await;
            drop((place, held));
        };
        tasks.spawn_on(task, &self.runtime);
    }

    /// Drops all bodies.
    pub(crate) fn end(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

/// Ends with the body, at its first error, after a pause, or after too many bytes.
async fn discard<B: http_body::Body>(mut body: Pin<Box<B>>, settings: Linger) {
    let mut left = settings.bytes;
    while !body.is_end_stream() {
        let length = poll_fn(|cx| body.as_mut().poll_frame(cx).map(length));
        let Ok(Some(length)) = timeout(settings.pause, length).await else { return };
        let Some(less) = left.checked_sub(length) else { return };
        left = less;
        // A body that is in memory is never pending.
        consume_budget().await;
    }
}

/// The number of bytes in a frame. Returns `None` for the end of the body and for an error.
fn length<D: Buf, E>(frame: Option<Result<Frame<D>, E>>) -> Option<u64> {
    let frame = frame?.ok()?;
    Some(frame.data_ref().map_or(0, |data| data.remaining() as u64))
}

impl fmt::Debug for Lingering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lingering").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
