use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use narun_core::exchange::Connection;

/// How many messages wait for one exchange at the most; flow control keeps honest peers far below.
const CAPACITY: usize = 1024;

/// Where the messages for one exchange wait until it is polled.
#[derive(Debug)]
pub struct Mailbox<A> {
    state: Mutex<State<A>>,
    /// The connection this exchange began on.
    epoch: u64,
}

#[derive(Debug)]
struct State<A> {
    queue: VecDeque<Mail<A>>,
    waker: Option<Waker>,
}

/// What comes for an exchange.
#[derive(Debug)]
pub enum Mail<A> {
    /// A payload came to the token of this attempt.
    Frame {
        /// The attempt whose token was addressed.
        attempt: u8,
        /// The payload, unread.
        payload: Bytes,
        /// The reply subject, one that the policy allows.
        reply: Option<A>,
    },
    /// What was published with this attempt's token as reply met nobody.
    NoResponders {
        /// The attempt.
        attempt: u8,
    },
    /// The connection changed.
    Connection(Connection),
}

impl<A> Mailbox<A> {
    pub(super) const fn new(epoch: u64) -> Self {
        Self { state: Mutex::new(State { queue: VecDeque::new(), waker: None }), epoch }
    }

    /// Whether the exchange began on an earlier connection than this one.
    pub(super) const fn is_older_than(&self, epoch: u64) -> bool {
        self.epoch < epoch
    }

    /// Puts a message in; false if there is no room.
    pub(super) fn put(&self, mail: Mail<A>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.queue.len() >= CAPACITY {
            return false;
        }
        state.queue.push_back(mail);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Takes the next message out. One task polls a mailbox: the last one to poll is woken.
    pub fn poll_take(&self, cx: &Context<'_>) -> Poll<Mail<A>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mail) = state.queue.pop_front() {
            return Poll::Ready(mail);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            waker @ None => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}
