//! Graceful shutdown of a program.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::process::ATTACHED;

/// Whether the program shuts down: on Ctrl-C, on SIGTERM, or by its own decision. Clones share it.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<watch::Sender<bool>>);

impl Shutdown {
    /// Listens for signals from now on, which then no longer kill the program. In a
    /// [`Process`](crate::process::Process) the end of the program that started it counts as a signal.
    ///
    /// # Errors
    ///
    /// If signal handlers cannot be installed.
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
            on_signal.begin();
            tracing::info!("shutting down");
        });
        if std::env::var_os(ATTACHED).is_some() {
            let when_alone = shutdown.clone();
            // This ends when the other side closes it. In a thread, as a read of standard input cannot be cancelled.
            std::thread::spawn(move || {
                let _ = io::copy(&mut io::stdin(), &mut io::sink());
                when_alone.begin();
            });
        }
        Ok(shutdown)
    }

    /// Begins the shutdown.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Waits until the shutdown has begun. Cancel safe.
    pub fn begun(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut begun = self.0.subscribe();
        async move {
            // If all senders are dropped, the shutdown never begins.
            if begun.wait_for(|begun| *begun).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
