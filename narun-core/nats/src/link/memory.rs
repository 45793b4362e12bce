//! A link in memory, for tests of the driver.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, poll_fn};

use super::{Link, OutgoingMessage, PublishError};

/// Keeps what is published. Its queue can be full for a while, and it can be disconnected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    sent: VecDeque<Sent>,
    is_full: bool,
    is_away: bool,
    epoch: u64,
    waiting: Vec<Waker>,
}

/// A message that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) to: Subject,
    pub(crate) reply: Option<Subject>,
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) payload: Bytes,
}

impl Memory {
    /// Removes the first message that was published.
    pub(crate) fn take(&self) -> Option<Sent> {
        self.lock().sent.pop_front()
    }

    /// Fills the queue, or makes room in it.
    pub(crate) fn set_full(&self, is_full: bool) {
        let mut state = self.lock();
        state.is_full = is_full;
        state.waiting.drain(..).for_each(Waker::wake);
    }

    /// Loses the connection, or restores it.
    pub(crate) fn set_connected(&self, is_connected: bool) {
        let mut state = self.lock();
        state.epoch += u64::from(is_connected);
        state.is_away = !is_connected;
        state.waiting.drain(..).for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic")
    }
}

impl Link for Memory {
    fn try_publish(&self, message: &OutgoingMessage<'_>) -> Result<(), PublishError> {
        let mut state = self.lock();
        if state.is_full {
            return Err(PublishError::Full);
        }
        let OutgoingMessage { to, reply, headers, payload } = message.clone();
        state.sent.push_back(Sent { to, reply, headers: headers.cloned(), payload });
        Ok(())
    }

    fn publish(&self, message: OutgoingMessage<'_>) -> BoxFuture<'static, Result<(), PublishError>> {
        let OutgoingMessage { to, reply, headers, payload } = message;
        let (link, headers) = (self.clone(), headers.cloned());
        poll_fn(move |cx| {
            if !link.is_connected() {
                link.lock().waiting.push(cx.waker().clone());
                return Poll::Pending;
            }
            let (to, reply, payload) = (to.clone(), reply.clone(), payload.clone());
            match link.try_publish(&OutgoingMessage { to, reply, headers: headers.as_ref(), payload }) {
                Err(PublishError::Full) => {
                    link.lock().waiting.push(cx.waker().clone());
                    Poll::Pending
                }
                published => Poll::Ready(published),
            }
        })
        .boxed()
    }

    fn is_connected(&self) -> bool {
        !self.lock().is_away
    }

    fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    fn max_payload(&self) -> usize {
        1024 * 1024
    }
}
