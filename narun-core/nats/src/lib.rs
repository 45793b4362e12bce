//! The driver that narun-gateway, narun-consumer and narun-grpc share: narun's protocol over async-nats and tokio.
//!
//! It is published for these crates alone, which depend on exactly one version of it: nothing here is meant for others, and
//! anything may change with any release. To serve HTTP over NATS, use narun-gateway and narun-consumer.

pub mod body;
pub mod drive;
pub mod inbox;
pub mod jetstream;

mod client;
mod clock;
mod link;

pub use client::{ClientLost, InboxReader, NatsLink, open};
pub use clock::Timer;
pub use link::{Link, Outgoing, OutgoingMessage, PublishError};
