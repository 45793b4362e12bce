#![doc = include_str!("../README.md")]

#[cfg(feature = "config")]
pub mod config;

#[doc(hidden)]
pub mod fuzzing;

mod body;
mod builder;
mod error;
mod failure;
mod forward;
mod future;
mod gateway;
mod grpc;
mod held;
mod idempotency;
mod jetstream;
mod layer;
mod linger;
mod log;
mod metrics;
mod original;
mod pace;
mod prefer;
mod request;
mod route;
mod service;
mod settings;
mod state;
mod status;
mod strip;

#[doc = include_str!("../DURABLE.md")]
pub mod durable_requests {}

#[doc = include_str!("../THREATS.md")]
pub mod threats {}

pub use async_nats;
pub use body::{BoxError, ResponseBody};
pub use builder::GatewayBuilder;
pub use error::BuildError;
pub use failure::{DefaultFailureHook, FailureHook};
pub use forward::{Cidr, DefaultPeerHook, ForwardedPolicy, ParseCidrError, Peer, PeerHook};
pub use future::ResponseFuture;
pub use gateway::Gateway;
pub use idempotency::{CallerHook, DefaultCallerHook, FieldCallerHook};
pub use layer::GatewayLayer;
pub use linger::Linger;
pub use narun_core::{App, Body, Failure, FailureContext, FailureKind, Namespace};
pub use narun_nats::jetstream::{Storage, StreamSettings};
pub use narun_nats::{AccessError, Denied, NatsAccess, NatsClient, NatsEvents, Permission};
pub use route::{Route, RouteError};
pub use service::{GatewayService, NotFound};
pub use strip::{StripHopByHop, StripHopByHopLayer};
