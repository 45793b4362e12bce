use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame};

use narun_core::exchange::{Callee, Caller};
use narun_core::{BodyError, BodyErrorKind};

/// A machine whose other side's body is read.
pub trait Machine: Send + 'static {
    /// The next part of the other side's body.
    fn poll_read(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyErrorKind>>>;
}

impl<A: Clone + PartialEq + Send + 'static> Machine for Caller<A> {
    fn poll_read(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyErrorKind>>> {
        Self::poll_read(self)
    }
}

impl<A: Clone + PartialEq + Send + 'static> Machine for Callee<A> {
    fn poll_read(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyErrorKind>>> {
        Self::poll_read(self)
    }
}

/// The machine of an exchange that streams, for the task that drives it and the one that reads.
///
/// Locked for single steps of the machine, never while anything is awaited or published.
pub struct Shared<M, T = ()> {
    state: Mutex<State<M, T>>,
}

struct State<M, T> {
    machine: M,
    /// What is handed over before the body.
    head: Option<T>,
    reader: Option<Waker>,
    driver: Option<Waker>,
    /// Whether the reader was told to wait once: from then on the other side knows that it reads.
    waits: bool,
    /// Whether the reader is gone.
    dropped: bool,
}

impl<M: Machine, T> Shared<M, T> {
    /// Shares a machine; what comes for the reader is read by the body.
    pub fn new(machine: M) -> (Arc<Self>, Incoming<M, T>) {
        let state = State { machine, head: None, reader: None, driver: None, waits: false, dropped: false };
        let shared = Arc::new(Self { state: Mutex::new(state) });
        (shared.clone(), Incoming { shared, ended: false })
    }

    /// Does one step with the machine.
    pub fn with<R>(&self, step: impl FnOnce(&mut M) -> R) -> R {
        step(&mut self.lock().machine)
    }

    /// Tells the reader that there may be something to read.
    pub fn wake_reader(&self) {
        let waker = self.lock().reader.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The same, unless the reader is the task with this waker, which is about to look by itself.
    pub fn wake_reader_elsewhere(&self, here: &Waker) {
        let waker = self.lock().reader.take_if(|reader| !reader.will_wake(here));
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Hands over what comes before the body.
    pub fn give_head(&self, head: T) {
        self.lock().head = Some(head);
        self.wake_reader();
    }

    /// The task to be woken when the reader has read, or is gone.
    pub fn driven_by(&self, waker: &Waker) {
        match &mut self.lock().driver {
            Some(driver) => driver.clone_from(waker),
            driver @ None => *driver = Some(waker.clone()),
        }
    }

    /// Nobody is to be woken when the reader has read: the driver is at work, and looks before it rests.
    pub fn driven_already(&self) {
        self.lock().driver = None;
    }

    /// Whether the reader is gone.
    pub fn is_dropped(&self) -> bool {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, State<M, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M, T> fmt::Debug for Shared<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// The other side's body, as it comes.
///
/// Cancel safe: dropped before its end, it tells the driver, which tells the other side.
pub struct Incoming<M: Machine, T = ()> {
    shared: Arc<Shared<M, T>>,
    ended: bool,
}

impl<A: Clone + PartialEq + Send + 'static, T> Incoming<Caller<A>, T> {
    /// How often the request has been sent.
    pub fn attempts(&self) -> u8 {
        self.shared.with(|machine| machine.published())
    }
}

impl<M: Machine, T> Incoming<M, T> {
    /// What comes before the body; pending until it was handed over.
    pub fn poll_head(&self, cx: &Context<'_>) -> Poll<T> {
        let mut state = self.shared.lock();
        match state.head.take() {
            Some(head) => Poll::Ready(head),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<M: Machine, T> Body for Incoming<M, T> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut state = self.shared.lock();
        let read = state.machine.poll_read();
        if read.is_pending() {
            state.reader = Some(cx.waker().clone());
        }
        // Having read may give the other side credit, and wanting to for the first time. A driver that was woken each
        // time that there is nothing to read would wake the reader in turn.
        let news = read.is_ready() || !std::mem::replace(&mut state.waits, true);
        let driver = state.driver.clone().filter(|_| news);
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        self.ended = matches!(read, Poll::Ready(None | Some(Err(_))));
        read.map_err(BodyError::from)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

impl<M: Machine, T> Drop for Incoming<M, T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.dropped = true;
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

impl<M: Machine, T> fmt::Debug for Incoming<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("ended", &self.ended).finish_non_exhaustive()
    }
}
