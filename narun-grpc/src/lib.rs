//! NATS for many tenants over gRPC: a tonic service for any Rust program's own server.

mod ack;
pub mod audit;
pub mod auth;
mod call;
mod connection;
mod consumers;
mod convert;
mod deadline;
mod grpc;
mod health;
mod kv;
mod messages;
mod method;
mod metrics;
mod pubsub;
mod record;
#[cfg(feature = "consul")]
pub mod registrar;
mod service;
mod settings;
mod statistics;
mod status;
mod streams;
mod subscribe;
mod tally;
pub mod tenancy;

/// The generated code of the contract: messages, server and, with the feature `client`, client.
// Written by prost and tonic as they are: nobody changes it, so what lints say of it helps nobody.
#[allow(missing_docs, unreachable_pub, unused_qualifications, rustdoc::all, clippy::all)]
pub mod pb {
    include!("generated/isa.nats.rs");
}

pub use connection::Connection;
#[cfg(feature = "health")]
pub use health::HealthWatch;
pub use method::Method;
pub use narun_core::tenant;
pub use service::{NatsService, NatsServiceBuilder};
pub use settings::{Settings, SettingsError};

/// The package of the contract.
pub const PACKAGE: &str = "isa.nats";

/// The full name of the service, which its methods' paths begin with.
pub const SERVICE: &str = "isa.nats.NATSService";

/// The contract and what it imports, as a `google.protobuf.FileDescriptorSet`, for `grpc.reflection`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/isa.nats.bin");
