//! What may have been delivered before, although its count says otherwise.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use narun_nats::jetstream::TaskStreams;
use tokio::sync::Notify;
use tokio::time::sleep;

/// Between two tries to learn where the stream ends.
const PAUSE: Duration = Duration::from_millis(500);

/// The sequence up to which a first delivery may be none.
///
/// A server that is killed forgets deliveries and acknowledgements that it has not written down, and counts anew. So
/// whatever was in the stream when we connected may have been done: it is looked for among the outcomes, where they are
/// kept.
#[derive(Debug)]
pub(super) struct Doubt {
    until: AtomicU64,
    /// How often it has begun anew.
    begun: AtomicU64,
    look: Notify,
}

impl Doubt {
    /// Of all, until something better is known.
    pub(super) fn new() -> Self {
        Self { until: AtomicU64::new(u64::MAX), begun: AtomicU64::new(0), look: Notify::new() }
    }

    /// Whether a delivery of this sequence, which counts as the first, may be none.
    pub(super) fn covers(&self, sequence: u64) -> bool {
        sequence <= self.until.load(Ordering::Acquire)
    }

    /// The connection, or the stream's leader, may be another one.
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::AcqRel);
        self.until.store(u64::MAX, Ordering::Release);
        self.look.notify_one();
    }

    /// Looks where the stream ends whenever doubt has begun; never completes.
    pub(super) async fn resolve(&self, tasks: &TaskStreams) {
        loop {
            self.look.notified().await;
            let begun = self.begun.load(Ordering::Acquire);
            match tasks.context().get_stream(tasks.namespace().task_stream()).await {
                Ok(stream) => self.ends(begun, stream.cached_info().state.last_sequence),
                Err(error) => {
                    tracing::debug!(%error, "it is not known where the stream ends");
                    sleep(PAUSE).await;
                    self.look.notify_one();
                }
            }
        }
    }

    /// The stream's last sequence, asked for when doubt had begun so many times.
    fn ends(&self, begun: u64, last: u64) {
        self.until.store(last, Ordering::Release);
        // What was learnt of one server is nothing that holds for the next.
        if self.begun.load(Ordering::Acquire) != begun {
            self.until.store(u64::MAX, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_what_was_there_when_it_began() {
        let doubt = Doubt::new();
        assert!(doubt.covers(u64::MAX));
        doubt.begin();
        doubt.ends(1, 7);
        assert!(doubt.covers(7) && !doubt.covers(8));
        doubt.begin();
        assert!(doubt.covers(8), "not known yet");
        doubt.ends(1, 7);
        assert!(doubt.covers(8), "that was another server's word");
        doubt.ends(2, 9);
        assert!(doubt.covers(9) && !doubt.covers(10));
    }
}
