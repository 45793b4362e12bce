use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use async_nats::Message;
use tonic::Status;

use crate::call::MethodCall;
use crate::state::ServiceState;
use crate::state::memory::WaitingBytes;
use crate::state::tally::Tally;

/// What may wait for a subscriber whatever waits for others, in bytes.
const ALWAYS: usize = 64 << 10;

/// Messages that wait for a client: a queue bounded in messages and bytes, which takes no memory while it is empty.
pub(super) struct SubscriptionQueue {
    service: Arc<ServiceState>,
    tenant: Arc<Tally>,
    state: Mutex<QueueState>,
}

#[derive(Debug, Default)]
struct QueueState {
    messages: VecDeque<(Message, SystemTime)>,
    bytes: usize,
    /// The end of the subscription, after the messages: a failure, or `None`.
    end: Option<Option<Status>>,
    waker: Option<Waker>,
}

impl SubscriptionQueue {
    pub(super) fn new(call: &MethodCall<'_>) -> Self {
        Self { service: call.state.clone(), tenant: call.tally.clone(), state: Mutex::default() }
    }

    /// Adds a message. Returns `false` if it does not fit.
    #[must_use]
    pub(super) fn push(&self, message: Message, received: SystemTime) -> bool {
        let mut state = self.state();
        let limits = self.service.queue;
        let bytes = state.bytes.saturating_add(message.length);
        // A single message fits, whatever its size.
        let full = state.messages.len() >= limits.messages || bytes > limits.bytes;
        if full && !state.messages.is_empty() {
            return false;
        }
        // Those that are not slow do not suffer from those that are.
        let (all, tenant) = (&self.service.waiting, &self.tenant.waiting);
        let over = |waiting: &WaitingBytes, limit| waiting.get().saturating_add(message.length) > limit;
        if state.bytes > ALWAYS && (over(all, limits.all) || over(tenant, limits.tenant)) {
            return false;
        }
        all.add(message.length);
        tenant.add(message.length);
        state.bytes = bytes;
        state.messages.push_back((message, received));
        wake(state);
        true
    }

    /// Ends the queue after the messages in it.
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
            self.remove(next.0.length);
            if state.messages.is_empty() {
                // Free the memory of a burst.
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

    fn remove(&self, bytes: usize) {
        self.service.waiting.remove(bytes);
        self.tenant.waiting.remove(bytes);
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SubscriptionQueue {
    fn drop(&mut self) {
        let bytes = self.state().bytes;
        self.remove(bytes);
    }
}

/// Unlocks, then wakes the reader.
fn wake(mut state: MutexGuard<'_, QueueState>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}
