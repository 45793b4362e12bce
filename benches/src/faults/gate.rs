//! A gate that lets requests begin in shares, so that there is load at each kill.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time;

/// The pause between two polls.
const PAUSE: Duration = Duration::from_millis(2);

/// Numbers the requests, and limits how many may begin.
#[derive(Debug)]
pub(super) struct Gate {
    permits: Semaphore,
    next: AtomicU64,
    allowed: AtomicU64,
    finished: AtomicU64,
}

impl Gate {
    pub(super) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self { permits: Semaphore::new(0), next: zero(), allowed: zero(), finished: zero() }
    }

    /// Lets this many more requests begin.
    pub(super) fn allow(&self, requests: u64) {
        self.allowed.fetch_add(requests, Ordering::SeqCst);
        self.permits.add_permits(requests as usize);
    }

    /// Waits until at most this many of the allowed requests have not begun.
    pub(super) async fn until_left(&self, requests: u64) {
        while self.permits.available_permits() as u64 > requests {
            time::sleep(PAUSE).await;
        }
    }

    /// Waits until all allowed requests are finished, and closes the gate.
    pub(super) async fn finish(&self) {
        while self.finished.load(Ordering::SeqCst) < self.allowed.load(Ordering::SeqCst) {
            time::sleep(PAUSE).await;
        }
        self.permits.close();
    }

    /// Waits until a request may begin, and returns its number. Returns `None` if the gate is closed.
    pub(super) async fn next(&self) -> Option<u64> {
        self.permits.acquire().await.ok()?.forget();
        Some(self.next.fetch_add(1, Ordering::SeqCst))
    }

    /// Must be called when a request is finished.
    pub(super) fn finished(&self) {
        self.finished.fetch_add(1, Ordering::SeqCst);
    }

    /// Must be called when a request was refused: another one may begin in its place.
    pub(super) fn refused(&self) {
        self.permits.add_permits(1);
    }
}
