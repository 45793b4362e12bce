//! Telling others where the service is: the [`ServiceRegistrar`] seam, and Consul.

mod consul;

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

pub use self::consul::{Consul, ConsulError};

/// Between two attempts, at first and at most.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often it is registered anew, should the registry have lost it.
const AGAIN: Duration = Duration::from_secs(60);

/// How long an attempt may take, and the last one, to be gone from the registry.
const LIMIT: Duration = Duration::from_secs(5);

/// Something that knows where services are.
#[tonic::async_trait]
pub trait ServiceRegistrar: Send + Sync + 'static {
    /// Why it did not work.
    type Error: std::error::Error + Send;

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

    /// Takes the service out, which may take up to 5 s; to be called before the server is shut down. Only dropped, it
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
    tokio::select! {
        () = register(&registrar) => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    match timeout(LIMIT, registrar.deregister()).await {
        Ok(Ok(())) => info!("deregistered"),
        Ok(Err(error)) => warn!(%error, "not deregistered"),
        Err(_) => warn!("not deregistered in time"),
    }
}

/// Never ends.
async fn register(registrar: &impl ServiceRegistrar) {
    let (mut pause, mut registered) = (PAUSE, false);
    loop {
        let error = match timeout(LIMIT, registrar.register()).await {
            Ok(Ok(())) => {
                if !std::mem::replace(&mut registered, true) {
                    info!("registered");
                }
                pause = PAUSE;
                sleep(AGAIN).await;
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        if std::mem::replace(&mut registered, false) || pause == PAUSE {
            warn!(error, "not registered");
        } else {
            debug!(error, "not registered");
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
