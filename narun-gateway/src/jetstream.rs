//! The stream and the buckets of durable requests, and the work on them that no request waits for.

mod background;
mod room;
mod store;

pub(crate) use background::{Background, StoredBody, storing_failed};
pub(crate) use room::ReservedRoom;
pub(crate) use store::DurableStore;
