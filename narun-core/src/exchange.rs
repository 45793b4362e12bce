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

pub use callee::{Callee, CalleeConfig, CalleeEvent, CalleeTransmit, Cancelled};
pub use caller::{Caller, CallerConfig, CallerEvent, CallerTransmit};
pub use flow::{Budget, FlowConfig};
pub use submission::{PubAck, PublishRequest, Submission, SubmissionConfig, SubmissionEvent};

/// What happened to the connection to NATS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionChange {
    /// It broke: what was on the wire may be lost.
    Lost,
    /// It is there again, and so are our subscriptions.
    Restored,
}
