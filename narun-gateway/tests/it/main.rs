//! A gateway on a real nats-server, with consumers that the tests play by hand, frame by frame.
//!
//! What a gateway and a real consumer do together is tested in narun-consumer.

mod consumer;
mod harness;
mod proxy;
mod streaming;
mod worker;

mod answers;
mod connection;
mod durable;
mod durable_bodies;
mod durable_failures;
mod durable_streams;
mod ending;
mod fields;
mod grpc;
mod hostile;
mod limits;
mod observed;
mod outcomes;
mod refused;
mod routing;
mod soak;
mod stream_hostile;
mod stream_http;
mod stream_metrics;
mod stream_requests;
mod stream_responses;
mod unanswered;
mod versions;
