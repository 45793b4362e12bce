//! Durable delivery: requests out of the namespace's stream.

mod acks;
mod call;
mod conclude;
mod dead;
mod doubt;
mod job;
mod lanes;
mod pull;
mod state;
mod store;
mod work;
mod worker;

pub(crate) use state::Shared;
pub(crate) use worker::{Control, work};
