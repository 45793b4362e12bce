//! The end of a program.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::process::ATTACHED;

/// Whether the program is to end: on Ctrl-C, on SIGTERM, or by its own decision.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<watch::Sender<bool>>);

impl Shutdown {
    /// Listens for signals from now on, instead of being ended by them. A [`Process`](crate::process::Process) ends with
    /// the program that started it, too.
    ///
    /// # Errors
    ///
    /// If the system does not tell about signals.
    pub fn on_signal() -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let shutdown = Self(Arc::new(watch::channel(false).0));
        let on_signal = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tracing::info!("shutting down");
            on_signal.begin();
        });
        if std::env::var_os(ATTACHED).is_some() {
            let when_alone = shutdown.clone();
            // Nobody writes there, so this ends when the other side does. A thread, as a read cannot be given up.
            std::thread::spawn(move || {
                let _ = io::copy(&mut io::stdin(), &mut io::sink());
                when_alone.begin();
            });
        }
        Ok(shutdown)
    }

    /// Begins the end.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Completes when the end has begun. Cancel safe.
    pub fn begun(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut begun = self.0.subscribe();
        async move {
            // The sender may be gone, if nobody is left who could begin.
            if begun.wait_for(|begun| *begun).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
