//! Durable requests: those from the namespace's stream.

mod acks;
mod body;
mod call;
mod conclude;
mod dead_letter;
mod job;
mod lanes;
mod pull;
mod request;
mod state;
mod store;
mod uncertain;
mod worker;

pub(crate) use state::WorkerState;
pub(crate) use worker::{Control, work};
