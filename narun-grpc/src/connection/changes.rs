use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Statistics};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often the client's state is looked at. It reports no change by itself.
const LOOK: Duration = Duration::from_millis(100);

/// Notifies calls in flight when the connection was lost or restored.
#[derive(Debug)]
pub(super) struct Changes {
    seen: watch::Sender<Seen>,
    watcher: JoinHandle<()>,
}

/// The number of times that the client had connected, and whether it is connected.
type Seen = (u64, bool);

impl Changes {
    /// Must be called within a tokio runtime.
    pub(super) fn watch(client: Client) -> Self {
        let seen = watch::Sender::new((0, false));
        let watcher = tokio::spawn(watch(client.statistics(), client, seen.clone()));
        Self { seen, watcher }
    }

    /// Receives a notice of each change from now on.
    pub(super) fn subscribe(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

async fn watch(statistics: Arc<Statistics>, client: Client, seen: watch::Sender<Seen>) {
    let mut look = tokio::time::interval(LOOK);
    loop {
        look.tick().await;
        let connects = statistics.connects.load(Ordering::Relaxed);
        let now = (connects, client.connection_state() == State::Connected);
        seen.send_if_modified(|seen| std::mem::replace(seen, now) != now);
    }
}
