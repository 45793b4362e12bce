//! A gateway on a real nats-server, with consumers that the tests play frame by frame.
//!
//! Gateways with real consumers are tested in narun-consumer.

mod consumer;
mod harness;
mod http_server;
mod proxy;
mod streaming;
mod worker;

mod client_pauses;
mod connection;
mod durable;
mod durable_bodies;
mod durable_failures;
mod durable_room;
mod durable_streams;
mod early_responses;
mod edge;
mod ending;
mod fields;
mod grpc;
mod hostile;
mod limits;
mod logged;
mod metrics;
mod no_response;
mod outcomes;
#[cfg(feature = "axum")]
mod placement;
mod refused;
mod responses;
mod routing;
mod soak;
mod streamed_hostile;
mod streamed_http;
mod streamed_metrics;
mod streamed_requests;
mod streamed_responses;
mod versions;
