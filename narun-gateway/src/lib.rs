//! narun-gateway

mod route;

pub use route::{AllowedMethods, Lookup, Route, RouteError, RouteTable};
