use narun_core::NameError;
use narun_nats::jetstream::DeclareError;

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a consumer stopped, or did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The app's or the namespace's name is invalid: mend the program.
    #[error("invalid name")]
    Name(#[from] NameError),
    /// A setting is out of its range: mend the program.
    #[error("invalid setting: {0}")]
    Setting(&'static str),
    /// The stream of durable requests, or what belongs to it, exists otherwise than it must, or cannot be declared:
    /// mend it, or the settings.
    #[error("durable delivery is not possible: {0}")]
    Stream(String),
    /// The NATS client is dead for good, which no reconnect mends: start anew with another one.
    #[error("the NATS client is dead")]
    ClientLost,
}

impl From<DeclareError> for ServeError {
    fn from(error: DeclareError) -> Self {
        Self::Stream(error.to_string())
    }
}
