//! What a namespace keeps in JetStream.
//!
//! | what | name | made by |
//! |---|---|---|
//! | stream of durable requests | `<namespace>` | [`TaskStreams::declare_stream`] |
//! | stream of dead letters | `<namespace>-dead` | [`TaskStreams::declare_dead_letters`] |
//! | durable consumer of an app | `<app>` | [`TaskStreams::declare_consumer`] |
//! | bucket of outcomes | `<namespace>-outcomes` | [`TaskStreams::outcomes`] |
//! | bucket of bodies | `<namespace>-bodies` | [`TaskStreams::bodies`] |

pub(crate) mod ack;
mod api;
mod bodies;
mod compare;
mod digest;
mod outcomes;
mod settings;
mod task_streams;

pub use bodies::{BodyStore, BodyStoreError};
pub use digest::{caller_scope, keyed_id, request_digest};
pub use outcomes::{Created, Outcome, OutcomeError, OutcomeState, OutcomeStore, StoredOutcome};
pub use settings::{Storage, StreamSettings};
pub use task_streams::{DeclareError, TaskStreams};

/// How large a frame may be in the stream, or as an answer that is kept, where the server takes messages of `max_payload`
/// bytes: the rest is for headers, those included that JetStream adds.
pub const fn room(max_payload: usize) -> usize {
    max_payload.saturating_sub(4 * 1024)
}

/// NATS headers, narun's own where nothing else is said. No HTTP field ever becomes one.
pub mod header {
    /// NATS's own, on a durable request: its id as text, by which the server knows duplicates.
    pub const MESSAGE_ID: &str = "Nats-Msg-Id";
    /// NATS's own, on a durable request: the stream, which refuses it if it has another name.
    pub const EXPECTED_STREAM: &str = "Nats-Expected-Stream";
    /// On a durable request: the gateway's inbox subject for the answer.
    pub const INBOX: &str = "Narun-Inbox";
    /// On a durable request: after how many milliseconds, counted from the server's timestamp, it is not run any more.
    pub const EXPIRY: &str = "Narun-Expiry";
    /// On a dead letter: why it was given up, a text for people in visible ASCII.
    pub const REASON: &str = "Narun-Reason";
    /// On a dead letter: how often it was delivered.
    pub const DELIVERIES: &str = "Narun-Deliveries";
    /// On a dead letter: when the request was stored first, milliseconds since 1970 (UTC).
    pub const ACCEPTED: &str = "Narun-Accepted";
}
