//! Durable requests: those from the namespace's stream.

mod acker;
mod acks;
mod call;
mod conclude;
mod dead_letter;
mod deliveries;
mod full;
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
