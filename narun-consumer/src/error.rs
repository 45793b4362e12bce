use narun_core::NameError;
use narun_nats::Denied;
use narun_nats::jetstream::DeclareError;

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a consumer did not start, or stopped without a shutdown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The name of the app or of the namespace is invalid: a mistake in the program.
    #[error("invalid name")]
    Name(#[from] NameError),
    /// A setting is out of range: a mistake in the program.
    #[error("invalid setting: {0}")]
    Setting(&'static str),
    /// The stream of durable requests, its consumer or a bucket differs from the settings, or cannot be declared: change
    /// it, or the settings. Or JetStream cannot be reached at the start: the text says why.
    #[error("durable requests cannot be served: {0}")]
    Stream(String),
    /// The NATS user lacks the permission to subscribe to the app's subject or the inbox, or nothing arrives there; or, with
    /// [`Serve::stream`](crate::Serve::stream), to publish a request to JetStream: grant it.
    #[error("a NATS permission is missing")]
    NotPermitted(#[source] Denied),
    /// The NATS client has stopped for good and will not reconnect: start again with a new client.
    #[error("the NATS client has stopped")]
    ClientLost,
}

impl From<DeclareError> for ServeError {
    fn from(error: DeclareError) -> Self {
        Self::Stream(error.to_string())
    }
}
