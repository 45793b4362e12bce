//! JetStream: the streams and buckets of a namespace, and the client of the API.
//!
//! | what | name | declared by |
//! |---|---|---|
//! | stream of durable requests | `<namespace>` | [`TaskStreams::declare_stream`] |
//! | stream of dead letters | `<namespace>-dead` | [`TaskStreams::declare_dead_letters`] |
//! | durable consumer of an app | `<app>` | [`TaskStreams::declare_consumer`] |
//! | bucket of outcomes | `<namespace>-outcomes` | [`TaskStreams::outcomes`] |
//! | bucket of bodies | `<namespace>-bodies` | [`TaskStreams::bodies`] |

pub(crate) mod ack;
pub mod header;
pub mod objects;

mod api;
mod bodies;
mod compare;
mod declare;
mod digest;
mod outcomes;
mod retry;
mod settings;
mod task_streams;

pub use api::{Api, ApiError, Requester};
pub use bodies::{BodyChunk, BodyReader, BodyStore, BodyStoreError, BodyUpload, BucketRoom, UndeletedBodies};
pub use declare::DeclareError;
pub use digest::{body_digest, caller_scope, request_digest};
pub use outcomes::{
    Created, KeySecret, Outcome, OutcomeError, OutcomeState, OutcomeStore, StoredOutcome, decode_outcome,
    encode_outcome,
};
pub use retry::{Backoff, retry};
pub use settings::{Storage, StreamSettings};
pub use task_streams::TaskStreams;

/// The largest frame that a stream or the bucket of outcomes stores, if the server takes messages of `max_payload` bytes.
/// The other bytes are for headers, including those that JetStream adds.
pub const fn max_stored_frame(max_payload: usize) -> usize {
    max_payload.saturating_sub(4 * 1024)
}
