//! narun-gateway

#[cfg(feature = "config")]
pub mod config;

#[allow(dead_code, reason = "the field changes are for the service, which comes next")]
mod forward;
mod route;

pub use forward::{DefaultPeerHook, ForwardedPolicy, Peer, PeerHook};
pub use route::{AllowedMethods, Lookup, Route, RouteError, RouteTable};
