//! What durable routes need in JetStream, and the work there that no request waits for.

mod chores;
mod store;

pub(crate) use chores::Parked;
pub(crate) use store::Store;
