use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use async_nats::Subject;
use bytes::Bytes;

use narun_core::exchange::ConnectionChange;

/// How many messages wait for one exchange at most. Flow control keeps honest peers far below.
const CAPACITY: usize = 1024;

/// Messages for one exchange, which wait until it is polled.
#[derive(Debug)]
pub struct Mailbox {
    queue: Mutex<Queue>,
    /// The epoch of the connection on which the exchange began.
    epoch: u64,
}

#[derive(Debug)]
struct Queue {
    messages: VecDeque<Mail>,
    waker: Option<Waker>,
}

/// A message or event for an exchange.
#[derive(Debug)]
pub enum Mail {
    /// A payload arrived at this token.
    Frame {
        /// The number of the token, as [`Registration::reply`](super::Registration::reply) counts them.
        token: u8,
        /// The payload, not decoded yet.
        payload: Bytes,
        /// The reply subject, which the reply policy allows.
        reply: Option<Subject>,
    },
    /// A message was published with this token as reply, and had no subscriber.
    NoResponders {
        /// The number of the token.
        token: u8,
    },
    /// The connection was lost or restored.
    Connection(ConnectionChange),
    /// A message to this subject was dropped by the server, because the user lacks the permission to publish to it.
    Denied(Subject),
}

impl Mailbox {
    pub(super) const fn new(epoch: u64) -> Self {
        Self { queue: Mutex::new(Queue { messages: VecDeque::new(), waker: None }), epoch }
    }

    /// Returns whether the exchange began on an earlier connection than this one.
    pub(super) const fn is_older_than(&self, epoch: u64) -> bool {
        self.epoch < epoch
    }

    /// Adds a message. Returns `false` if the mailbox is full.
    pub(super) fn put(&self, mail: Mail) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.messages.len() >= CAPACITY {
            return false;
        }
        queue.messages.push_back(mail);
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Removes the next message. Only the last task that has polled is woken.
    pub fn poll_take(&self, cx: &Context<'_>) -> Poll<Mail> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mail) = queue.messages.pop_front() {
            return Poll::Ready(mail);
        }
        match &mut queue.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            waker @ None => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}
