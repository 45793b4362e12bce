//! Telling others where the service is: the [`ServiceRegistrar`] seam, and Consul.

mod consul;

use std::error::Error;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{debug, info, warn};

pub use self::consul::{Consul, ConsulError};

/// Between two attempts, at first and at most.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often it is registered anew, should the registry have lost it.
const AGAIN: Duration = Duration::from_secs(60);

/// How long an attempt may take, and being taken out.
const LIMIT: Duration = Duration::from_secs(5);

/// Something that knows where services are.
#[tonic::async_trait]
pub trait ServiceRegistrar: Send + Sync + 'static {
    /// Why it did not work.
    type Error: Error + Send + Sync + 'static;

    /// Puts the service in. Called again from time to time, it must not matter that it is there.
    ///
    /// # Errors
    ///
    /// Whatever went wrong: it is tried again, after growing pauses.
    async fn register(&self) -> Result<(), Self::Error>;

    /// Takes the service out.
    ///
    /// # Errors
    ///
    /// Whatever went wrong: it is logged.
    async fn deregister(&self) -> Result<(), Self::Error>;
}

/// A service that is registered for as long as this lives.
#[derive(Debug)]
#[must_use = "the service is not kept registered once this is dropped"]
pub struct Registration {
    stop: watch::Sender<bool>,
    keeper: JoinHandle<()>,
}

impl Registration {
    /// Registers in the background, as often as it takes: the service starts whether that works or not.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(registrar: impl ServiceRegistrar) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { stop, keeper: tokio::spawn(keep(registrar, stopped)) }
    }

    /// Takes the service out, which may take up to 10 s; to be called before the server is shut down. Only dropped, it
    /// stays in until the registry finds out.
    pub async fn end(mut self) {
        self.stop.send_replace(true);
        // A panic there is no reason for one here.
        let _ = (&mut self.keeper).await;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn keep(registrar: impl ServiceRegistrar, mut stopped: watch::Receiver<bool>) {
    let (mut pause, mut registered, mut told) = (PAUSE, false, None);
    loop {
        // Seen to its end even when all is to stop: the registry may act on it later than on what takes the service out.
        let failure = match timeout(LIMIT, registrar.register()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(chain(&error)),
            Err(_) => Some("no answer in time".to_owned()),
        };
        let wait = match &failure {
            None => {
                if !registered {
                    info!("registered");
                }
                pause = PAUSE;
                AGAIN
            }
            Some(error) => {
                // Once for each reason, as the next one may be the one that has to be seen to.
                if failure == told {
                    debug!(error, "not registered");
                } else {
                    warn!(error, "not registered");
                }
                let wait = pause;
                pause = (pause * 2).min(LONGEST_PAUSE);
                wait
            }
        };
        (registered, told) = (failure.is_none(), failure);
        if timeout(wait, stopped.wait_for(|stopped| *stopped)).await.is_ok() {
            break;
        }
    }
    match timeout(LIMIT, registrar.deregister()).await {
        Ok(Ok(())) => info!("deregistered"),
        Ok(Err(error)) => warn!(error = chain(&error), "not deregistered"),
        Err(_) => warn!("not deregistered in time"),
    }
}

/// What went wrong, and why.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
