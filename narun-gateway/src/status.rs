//! The status resource of durable requests.

mod paths;
mod response;
mod serve;

pub(crate) use paths::StatusPaths;
pub(crate) use response::{accepted, stored};
pub(crate) use serve::respond;
