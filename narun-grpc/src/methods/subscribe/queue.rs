use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use async_nats::Message;
use tonic::Status;

use crate::state::QueueLimits;

/// Messages that wait for a client to read them: a queue that takes no memory while it is empty, and is bounded in
/// messages and bytes.
#[derive(Debug)]
pub(super) struct SubscriptionQueue {
    limits: QueueLimits,
    state: Mutex<QueueState>,
}

#[derive(Debug, Default)]
struct QueueState {
    messages: VecDeque<(Message, SystemTime)>,
    bytes: usize,
    /// What comes after the messages; a status, or nothing.
    end: Option<Option<Status>>,
    waker: Option<Waker>,
}

impl SubscriptionQueue {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// Adds a message; false if there is no room for it.
    #[must_use]
    pub(super) fn push(&self, message: Message, received: SystemTime) -> bool {
        let mut state = self.state();
        let bytes = state.bytes.saturating_add(message.length);
        // One message is taken however large it is.
        let full = state.messages.len() >= self.limits.messages || bytes > self.limits.bytes;
        if full && !state.messages.is_empty() {
            return false;
        }
        state.bytes = bytes;
        state.messages.push_back((message, received));
        wake(state);
        true
    }

    /// Nothing comes after what is there but this.
    pub(super) fn end(&self, status: Option<Status>) {
        let mut state = self.state();
        state.end.get_or_insert(status);
        wake(state);
    }

    /// The next message, or the end.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Result<(Message, SystemTime), Option<Status>>> {
        let mut state = self.state();
        if let Some(next) = state.messages.pop_front() {
            state.bytes = state.bytes.saturating_sub(next.0.length);
            if state.messages.is_empty() {
                // After a burst, the memory is given back.
                state.messages = VecDeque::new();
            }
            return Poll::Ready(Ok(next));
        }
        match &mut state.end {
            Some(status) => Poll::Ready(Err(status.take())),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the reader after the lock is let go.
fn wake(mut state: MutexGuard<'_, QueueState>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}
