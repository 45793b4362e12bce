//! Service registration: the [`ServiceRegistrar`] trait, and Consul.

mod consul;

use std::error::Error;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{debug, info, warn};

pub use self::consul::{Consul, ConsulError};

/// The first and the longest pause before a retry.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often to register again, in case the registry has lost the service.
const AGAIN: Duration = Duration::from_secs(60);

/// How long an attempt to register or deregister may take.
const LIMIT: Duration = Duration::from_secs(5);

/// A registry of services.
#[tonic::async_trait]
pub trait ServiceRegistrar: Send + Sync + 'static {
    /// The error of both methods.
    type Error: Error + Send + Sync + 'static;

    /// Registers the service. Called again every minute, so it must succeed if the service is registered already.
    ///
    /// # Errors
    ///
    /// Any failure. It is logged, and retried with backoff.
    async fn register(&self) -> Result<(), Self::Error>;

    /// Deregisters the service.
    ///
    /// # Errors
    ///
    /// Any failure. It is logged.
    async fn deregister(&self) -> Result<(), Self::Error>;
}

/// Keeps a service registered.
#[derive(Debug)]
#[must_use = "the service does not stay registered once this is dropped"]
pub struct Registration {
    stop: watch::Sender<bool>,
    keeper: JoinHandle<()>,
}

impl Registration {
    /// Registers in the background, with retries. A failure does not keep the service from starting.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(registrar: impl ServiceRegistrar) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { stop, keeper: tokio::spawn(keep(registrar, stopped)) }
    }

    /// Deregisters the service, within 10 s. Call it before the server is shut down: if this is only dropped, the service
    /// stays registered until the registry notices.
    pub async fn end(mut self) {
        self.stop.send_replace(true);
        // An error is a panic of the task, which is no reason to panic here.
        let _ = (&mut self.keeper).await;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn keep(registrar: impl ServiceRegistrar, mut stopped: watch::Receiver<bool>) {
    let (mut pause, mut registered, mut last_failure) = (PAUSE, false, None);
    loop {
        // Not cancelled by the end: the registry could process a cancelled attempt after the deregistration.
        let failure = match timeout(LIMIT, registrar.register()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(chain(&error)),
            Err(_) => Some("timed out".to_owned()),
        };
        let wait = match &failure {
            None => {
                if !registered {
                    info!("service registered");
                }
                pause = PAUSE;
                AGAIN
            }
            Some(error) => {
                // Warn once per reason: a new reason may need attention.
                if failure == last_failure {
                    debug!(error, "registration failed");
                } else {
                    warn!(error, "registration failed");
                }
                let wait = pause;
                pause = (pause * 2).min(LONGEST_PAUSE);
                wait
            }
        };
        (registered, last_failure) = (failure.is_none(), failure);
        if timeout(wait, stopped.wait_for(|stopped| *stopped)).await.is_ok() {
            break;
        }
    }
    match timeout(LIMIT, registrar.deregister()).await {
        Ok(Ok(())) => info!("service deregistered"),
        Ok(Err(error)) => warn!(error = chain(&error), "deregistration failed"),
        Err(_) => warn!("deregistration timed out"),
    }
}

/// The error with its sources.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
