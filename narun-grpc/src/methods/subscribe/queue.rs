use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use async_nats::{HeaderMap, Message};
use tonic::Status;

use crate::call::MethodCall;
use crate::state::ServiceState;
use crate::state::memory::WaitingBytes;
use crate::state::tally::Tally;

/// What may wait for a subscriber whatever waits for others, in bytes.
const ALWAYS: usize = 64 << 10;

/// What the name of a header takes in memory with its values besides their text, and what each value does, in bytes.
const NAME: usize = 256;
const VALUE: usize = 48;

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
        let (limits, size) = (self.service.queue, size(&message));
        let bytes = state.bytes.saturating_add(size);
        // A single message fits, whatever its size.
        let full = state.messages.len() >= limits.messages || bytes > limits.bytes;
        if full && !state.messages.is_empty() {
            return false;
        }
        // Those that are not slow do not suffer from those that are.
        let (all, tenant) = (&self.service.waiting, &self.tenant.waiting);
        let over = |waiting: &WaitingBytes, limit| waiting.get().saturating_add(size) > limit;
        if state.bytes > ALWAYS && (over(all, limits.all) || over(tenant, limits.tenant)) {
            return false;
        }
        all.add(size);
        tenant.add(size);
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
            let size = size(&next.0);
            state.bytes = state.bytes.saturating_sub(size);
            self.remove(size);
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

/// The approximate memory of a message that waits, in bytes.
fn size(message: &Message) -> usize {
    let headers = message.headers.iter().flat_map(HeaderMap::iter);
    let headers = headers.map(|(_, values)| NAME + values.len() * VALUE).sum::<usize>();
    message.length + headers + size_of::<(Message, SystemTime)>()
}

#[cfg(test)]
mod tests {
    use async_nats::{HeaderMap, Message};

    use super::size;

    #[test]
    fn a_message_counts_with_its_own_memory() {
        let mut message = Message {
            subject: "a".into(),
            reply: None,
            payload: "b".into(),
            headers: None,
            status: None,
            description: None,
            length: 2,
        };
        let small = size(&message);
        assert!(small > size_of::<Message>());
        let mut headers = HeaderMap::new();
        for value in 0..100 {
            headers.append("a", value.to_string());
        }
        headers.insert("b", "c");
        message.headers = Some(headers);
        assert!(size(&message) - small > 100 * size_of::<String>());
    }
}
