use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use async_nats::Subject;
use bytes::Bytes;
use http_body::{Body, Frame};
use narun_core::exchange::{Callee, Caller};
use narun_core::{BodyError, BodyErrorKind};

use super::machine::Hold;

/// A machine that receives the other side's body.
pub trait ReadBody: Send + 'static {
    /// The next body frame. Pending until the machine has handled another message or timeout.
    fn poll_read(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyErrorKind>>>;
}

impl ReadBody for Caller<Subject> {
    fn poll_read(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyErrorKind>>> {
        self.poll_read()
    }
}

impl ReadBody for Callee<Subject> {
    fn poll_read(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyErrorKind>>> {
        self.poll_read()
    }
}

/// The machine of an exchange with a streamed body, shared by the task that drives it and the reader of that body.
///
/// It is locked for single steps of the machine, never while anything is awaited or published. `T` is handed to the reader
/// before the body.
pub struct SharedMachine<M, T = ()> {
    state: Mutex<SharedState<M, T>>,
}

struct SharedState<M, T> {
    machine: M,
    /// What the reader gets before the body.
    start: Option<T>,
    reader: Option<Waker>,
    driver: Option<Waker>,
    /// Whether the reader has been pending once. From then on the other side knows that it reads.
    has_waited: bool,
    /// Whether the reader has been dropped.
    is_dropped: bool,
}

impl<M: ReadBody, T> SharedMachine<M, T> {
    /// Shares a machine with the reader of its body.
    pub fn new(machine: M) -> (Arc<Self>, IncomingBody<M, T>) {
        let state = SharedState {
            machine,
            start: None,
            reader: None,
            driver: None,
            has_waited: false,
            is_dropped: false,
        };
        let shared = Arc::new(Self { state: Mutex::new(state) });
        (shared.clone(), IncomingBody { shared, ended: false })
    }

    /// Runs one step of the machine.
    pub fn with<R>(&self, step: impl FnOnce(&mut M) -> R) -> R {
        step(&mut self.lock().machine)
    }

    /// Hands the reader what it gets before the body.
    pub(super) fn give_start(&self, start: T) {
        let mut state = self.lock();
        state.start = Some(start);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, SharedState<M, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: ReadBody, T> Hold<M> for Arc<SharedMachine<M, T>> {
    fn with<R>(&mut self, step: impl FnOnce(&mut M) -> R) -> R {
        step(&mut self.lock().machine)
    }

    fn wake_reader(&self, here: &Waker) {
        let reader = self.lock().reader.take_if(|reader| !reader.will_wake(here));
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn set_driver(&self, driver: Option<&Waker>) -> bool {
        let mut state = self.lock();
        match (&mut state.driver, driver) {
            (Some(current), Some(new)) => current.clone_from(new),
            (current, new) => *current = new.cloned(),
        }
        state.is_dropped
    }
}

impl<M, T> fmt::Debug for SharedMachine<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMachine").finish_non_exhaustive()
    }
}

/// The other side's body, as it arrives.
///
/// Cancel safe. Dropped before its end, it notifies the task that drives the exchange, which notifies the other side.
pub struct IncomingBody<M: ReadBody, T = ()> {
    shared: Arc<SharedMachine<M, T>>,
    ended: bool,
}

impl<T> IncomingBody<Caller<Subject>, T> {
    /// How many attempts of the request have been published.
    pub fn attempts(&self) -> u8 {
        SharedMachine::with(&self.shared, |caller| caller.published())
    }
}

impl<M: ReadBody, T> IncomingBody<M, T> {
    /// What comes before the body. Given once; pending until then.
    pub fn poll_start(&self, cx: &Context<'_>) -> Poll<T> {
        let mut state = self.shared.lock();
        match state.start.take() {
            Some(start) => Poll::Ready(start),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<M: ReadBody, T> Body for IncomingBody<M, T> {
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
        // A read gives credit, and so does the first attempt to read. If every attempt woke the driver, the two tasks would
        // wake each other for ever.
        let has_news = read.is_ready() || !std::mem::replace(&mut state.has_waited, true);
        let driver = state.driver.clone().filter(|_| has_news);
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

impl<M: ReadBody, T> Drop for IncomingBody<M, T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_dropped = true;
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

impl<M: ReadBody, T> fmt::Debug for IncomingBody<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingBody").field("ended", &self.ended).finish_non_exhaustive()
    }
}
