//! The stream and the buckets of durable requests, and the work on them that no request waits for.

mod background;
mod store;

pub(crate) use background::StoredBody;
pub(crate) use store::DurableStore;
