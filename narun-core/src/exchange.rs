//! The exchange: one request and its response, as state machines without IO.
//!
//! [`Caller`] is the gateway's side, [`Callee`] the consumer's, and [`Submission`] the gateway's where a stream keeps the
//! request. All are driven alike:
//!
//! 1. Input goes in through `handle_*`, with the moment it happened.
//! 2. Then [`poll_transmit`](Caller::poll_transmit) is drained: what is to be published.
//! 3. Then [`poll_event`](Caller::poll_event) is drained: what the application is to be told.
//! 4. Then [`poll_timeout`](Caller::poll_timeout) says when to call `handle_timeout`, if nothing happens before.
//!
//! A body that fits the frame of its head comes and goes with that. A longer one is pulled: while
//! [`wants_data`](Caller::wants_data) says so, the application gives the next part of its own by
//! [`send`](Caller::send), and it takes the other side's by [`poll_read`](Caller::poll_read). Both are input like any other,
//! and step 2 comes next. What an application has at once is best given before it: then it shares a frame.
//!
//! Addresses are of any type `A`; a driver over NATS uses subjects.

mod callee;
mod caller;
mod flow;
mod submission;

use bytes::Bytes;

pub use callee::{Callee, CalleeConfig, CalleeEvent, Cancelled};
pub use caller::{Caller, CallerConfig, CallerEvent};
pub use flow::{Budget, FlowConfig};
pub use submission::{Ack, Submission, SubmissionConfig, SubmissionEvent};

/// Something to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transmit<A> {
    /// The request itself, as this attempt, to the app's subject, naming a new token of the gateway as its reply.
    Request {
        /// The number of the attempt, from 0.
        attempt: u8,
    },
    /// An encoded frame to the other side.
    Frame {
        /// Where to.
        to: A,
        /// The frame.
        payload: Bytes,
        /// Whether to name our own token as reply: the gateway's one of this attempt, the consumer's one (attempt 0).
        reply: Option<u8>,
    },
}

/// What happened to the connection to NATS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Connection {
    /// It broke: what was on the wire may be lost.
    Lost,
    /// It is there again, and so are our subscriptions.
    Restored,
}
