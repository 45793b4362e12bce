//! The exchange: one request and its response, as state machines without IO.
//!
//! | machine | side | publishes |
//! |---|---|---|
//! | [`Caller`] | the gateway of a direct request | [`CallerTransmit`]: the request, or a frame to a consumer |
//! | [`Callee`] | the consumer of a direct request | [`CalleeTransmit`]: a frame to the gateway |
//! | [`Submission`] | the gateway of a durable request | [`PublishRequest`]: the request, to its stream |
//!
//! All machines are driven in the same order:
//!
//! 1. Call `handle_*` with the current [`Time`](crate::Time) and an input.
//! 2. Call [`poll_transmit`](Caller::poll_transmit) until it returns `None`, and publish what it returns, in order.
//! 3. Call [`poll_event`](Caller::poll_event) until it returns `None`, and pass the events to the application.
//! 4. Call [`poll_timeout`](Caller::poll_timeout). If it returns a moment, call `handle_timeout` at that moment unless
//!    another input arrives first.
//!
//! A body that fits the frame of its head travels with it. A longer body is pulled. While
//! [`wants_data`](Caller::wants_data) returns true, the application passes the next part of its own body to
//! [`send`](Caller::send). It reads the other side's body with [`poll_read`](Caller::poll_read). Both calls are inputs:
//! continue with step 2. Parts that are passed to `send` before step 2 share a frame.
//!
//! An address is of any type `A`. A driver over NATS uses subjects.
//!
//! Events and transmits are exhaustive enums, because a driver must handle each of them. Settings are
//! `#[non_exhaustive]`: start from `default()` and assign fields.

mod callee;
mod caller;
mod flow;
mod submission;

pub use callee::{Callee, CalleeConfig, CalleeEvent, CalleeTransmit, Cancelled};
pub use caller::{Caller, CallerConfig, CallerEvent, CallerTransmit};
pub use flow::{Budget, FlowConfig};
pub use submission::{PubAck, PublishRequest, Submission, SubmissionConfig, SubmissionEvent};

/// A change of the connection to NATS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionChange {
    /// The connection broke. Messages on the wire may be lost.
    Lost,
    /// The process is connected again, and its subscriptions are restored.
    Restored,
}
