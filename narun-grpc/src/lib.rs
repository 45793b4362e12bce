//! NATS for many tenants over gRPC: a tonic service for any Rust program's own server.
//!
//! The service is `isa.nats.NATSService`; its methods publish, subscribe and request, keep streams and consumers and
//! deliver their messages, and use and watch key-value stores and object stores. Clients need no NATS library, only the
//! contract, `proto/nats_service.proto`, and see no names but their own: each request is for a user, or for an organization, whose id becomes part of every subject,
//! stream and bucket, in such a way that no id reaches another's (see [`tenant`]).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use narun_grpc::NatsService;
//! use narun_grpc::auth::{Principal, StaticTokens};
//! use tonic::transport::Server;
//!
//! let nats = async_nats::connect("127.0.0.1:4222").await?;
//! let tokens = StaticTokens::new().token("correct horse battery staple", Principal::user("ann"));
//! let service = NatsService::builder(nats).authenticator(tokens).build();
//! Server::builder().add_service(service.into_server()).serve("127.0.0.1:50056".parse()?).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Beside it a server can have `grpc.health.v1`, from `NatsService::health` (feature `health`), and reflection: give
//! [`FILE_DESCRIPTOR_SET`] to tonic-reflection's `register_encoded_file_descriptor_set`.
//!
//! # What is whose business
//!
//! | | seam | ready-made |
//! |---|---|---|
//! | who is calling | [`auth::Authenticator`] | [`auth::TrustRequest`], [`auth::StaticTokens`], JSON Web Tokens (`jwt`), certificates (`mtls`) |
//! | whose names it is about | [`tenancy::Tenancy`] | one account for all tenants, which are users or organizations ([`tenancy::Scope`]) |
//! | who did what | [`audit::AuditSink`] | [`audit::TracingAudit`], [`audit::JetStreamAudit`] |
//! | where the service is | `registrar::ServiceRegistrar` (`consul`) | Consul |
//! | settings of a program of its own | | [`Settings`], from the environment |
//!
//! There is no default for the first: without one there is no service.
//!
//! # What becomes of a failure
//!
//! | cause | status |
//! |---|---|
//! | a field that cannot be meant: names, wildcards, headers, durations | INVALID_ARGUMENT |
//! | no credentials, or wrong ones | UNAUTHENTICATED |
//! | an identity that is not the caller's | PERMISSION_DENIED |
//! | no such stream or consumer; no such bucket to watch; one of them deleted under a stream of its messages or changes | NOT_FOUND |
//! | there is one of that name, with another configuration; a key that was expected not to be there | ALREADY_EXISTS |
//! | a quota, a full stream, a message over a limit; a subscriber who reads too slowly | RESOURCE_EXHAUSTED |
//! | what is there does not fit what is asked; a NATS server that is too old | FAILED_PRECONDITION |
//! | a key that is not at the expected revision; an object that changed while it was read; one that is damaged | ABORTED; ABORTED; DATA_LOSS |
//! | no NATS, no JetStream; no leader in a cluster at the moment; the connection broke and what was sent may be lost; a server that stops | UNAVAILABLE |
//! | the call's time is over | DEADLINE_EXCEEDED |
//!
//! A negative answer that a response has a field for is no failure: `found`, `success`, `errors`.
//!
//! While NATS is disconnected calls fail at once, and streams of subscribers stay open; what is published meanwhile
//! they miss, as NATS keeps nothing for subscribers. ConsumeMessages and KVWatch, which read what NATS keeps, stay open
//! too and go on where they were. They take no more than their client reads: one who reads slowly gets all later, and is
//! not ended as a subscriber is. A call whose client sets no deadline has 30 s
//! ([`timeout`](NatsServiceBuilder::timeout)). Clients that die without closing their connection are found by
//! HTTP/2 keepalive only: turn it on at the server.
//!
//! # What a request may have
//!
//! Its size is limited by [`message_limit`](NatsServiceBuilder::message_limit), and so is what it becomes: a batch has at
//! most 65,536 messages, a message 4,096 headers, a stream 65,536 subjects, an object 4,096 entries of metadata, and a
//! request three times 65,536 of all these together. So a request takes at most 64 MiB more than twice its size. These are
//! looked at before there is a call, so that there is no audit record and no metric of what is over them, as of what is
//! no protobuf.
//!
//! # NATS servers
//!
//! For nats-server 2.10 and later. With older ones, subscribers, Publish, PublishBatch and Request work; all that needs
//! JetStream (streams, consumers, key-value and object buckets, statistics) is refused with FAILED_PRECONDITION, and a
//! deep health check says so.
//!
//! # Metrics and spans
//!
//! Through the [`metrics`](https://docs.rs/metrics) facade; install a recorder before building the service. Nothing
//! is labelled by what a client sends.
//!
//! | metric | labels |
//! |---|---|
//! | `nats_grpc_calls_total` | method, code |
//! | `nats_grpc_call_duration_seconds`, `nats_grpc_calls_in_flight` | method |
//! | `nats_grpc_messages_total`, `nats_grpc_message_bytes_total` | method, direction (received, sent) |
//! | `nats_grpc_subscriptions` | |
//! | `nats_grpc_audit_dropped_total` | |
//!
//! Each call has a `tracing` span `nats_grpc.call`.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `client` | the generated client, `pb::nats_service_client` |
//! | `consul` | registration with Consul, as the page `with_consul` tells |
//! | `gzip` | compressed messages |
//! | `health` | `grpc.health.v1` |
//! | `jwt`, `mtls` | callers known by JSON Web Tokens, by certificates |
//! | `transport` | the peer's address, from tonic's own server |

pub mod audit;
pub mod auth;
mod buckets;
mod call;
mod codec;
mod connection;
mod convert;
mod method;
mod methods;
mod metrics;
mod pull;
mod random;
#[cfg(feature = "consul")]
pub mod registrar;
mod service;
mod settings;
mod state;
mod status;
pub mod tenancy;
pub mod tenant;

/// The generated code of the contract: messages, server and, with the feature `client`, client.
// Written by prost and tonic as they are: nobody changes it, so what lints say of it helps nobody.
#[allow(missing_docs, unreachable_pub, unused_qualifications, rustdoc::all, clippy::all)]
pub mod pb {
    include!("generated/isa.nats.rs");
}

#[cfg(feature = "consul")]
#[doc = include_str!("../CONSUL.md")]
pub mod with_consul {}

pub use buckets::BucketSettings;
pub use connection::Connection;
pub use method::Method;

pub use service::NatsService;
pub use service::builder::NatsServiceBuilder;
#[cfg(feature = "health")]
pub use service::health::HealthWatch;
pub use settings::{Settings, SettingsError};

/// The package of the contract.
pub const PACKAGE: &str = "isa.nats";

/// The full name of the service, which its methods' paths begin with.
pub const SERVICE: &str = "isa.nats.NATSService";

/// The contract and what it imports, as a `google.protobuf.FileDescriptorSet`, for `grpc.reflection`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/isa.nats.bin");
