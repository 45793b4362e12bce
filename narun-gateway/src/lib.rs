//! narun-gateway

mod body;
mod builder;
mod error;
mod exchange;
mod forward;
mod future;
mod gateway;
mod layer;
mod metrics;
mod respond;
mod route;
mod service;

pub use body::{BoxError, ResponseBody};
pub use builder::GatewayBuilder;
pub use error::BuildError;
pub use forward::{DefaultPeerHook, ForwardedPolicy, Peer, PeerHook};
pub use future::ResponseFuture;
pub use gateway::Gateway;
pub use layer::GatewayLayer;
pub use narun_core::{App, Body, Failure, FailureContext, FailureKind, Namespace};
pub use respond::{DefaultRespondToFailure, RespondToFailure};
pub use route::{AllowedMethods, Lookup, Route, RouteError, RouteTable};
pub use service::{GatewayService, NotFound};
