use crate::body::BoxError;
use crate::route::RouteError;

/// Why a gateway could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A route is invalid, or two contradict each other: mend the configuration.
    #[error("invalid route")]
    Route(#[from] RouteError),
    /// A setting is out of its range: mend the configuration.
    #[error("invalid setting: {0}")]
    Setting(&'static str),
    /// The stream of durable requests, or a bucket beside it, exists otherwise than it must, or cannot be declared: mend
    /// the settings or the stream. The source names the difference.
    #[error("durable requests cannot be kept")]
    Durable(#[source] BoxError),
    /// The NATS client is dead, or its connection was closed: connect a new one.
    #[error("the NATS client does not take subscriptions")]
    ClientLost,
}
