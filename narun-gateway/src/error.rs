use narun_nats::Denied;

use crate::body::BoxError;
use crate::route::RouteError;

/// Why a gateway could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A route is invalid, or conflicts with another: correct the routes.
    #[error("invalid route")]
    Route(#[from] RouteError),
    /// A setting is out of its range: correct it.
    #[error("invalid setting: {0}")]
    Setting(&'static str),
    /// The stream or a bucket of durable requests exists with other settings than required, or cannot be declared: correct the
    /// settings or the stream. The source names the difference.
    #[error("durable requests cannot be stored")]
    Durable(#[source] BoxError),
    /// The NATS user lacks the permission to subscribe to the gateway's inbox, or nothing arrives there; or, for durable routes,
    /// to publish a request to JetStream: grant it.
    #[error("a NATS permission is missing")]
    NotPermitted(#[source] Denied),
    /// The NATS client is dead, or was closed: connect a new one.
    #[error("the NATS client is dead")]
    ClientLost,
}
