//! Durable requests: those from the namespace's stream.

mod acker;
mod acks;
mod body;
mod call;
mod conclude;
mod dead_letter;
mod deliveries;
mod full;
mod job;
mod lanes;
mod progress;
mod pull;
mod request;
mod state;
mod store;
mod uncertain;
mod worker;

pub(crate) use dead_letter::DeadLetterReason;
pub(crate) use state::WorkerState;
pub(crate) use worker::{Control, work};

/// Reads the reply of a delivery, and returns its delivery count. `None` if it is not an ack of this stream and consumer.
pub(crate) fn delivery_count(reply: &str, stream: &str, consumer: &str) -> Option<u64> {
    acks::DeliveryInfo::read(reply, stream, consumer).map(|delivery| delivery.count)
}
