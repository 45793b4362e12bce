//! Requests that may have been delivered before, although the server counts a first delivery.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use narun_nats::jetstream::TaskStreams;
use tokio::sync::Notify;
use tokio::time::sleep;

/// The pause between two attempts to read the stream's last sequence.
const PAUSE: Duration = Duration::from_millis(500);

/// The sequence up to which a first delivery may be a redelivery.
///
/// A server that is killed forgets the deliveries and acks that it has not written to disk, and counts deliveries from 1
/// again. So every request that was in the stream when the consumer connected may have been done before. Such requests
/// are looked up among the stored outcomes.
#[derive(Debug)]
pub(super) struct UncertainDeliveries {
    until: AtomicU64,
    /// How many times the limit has been reset.
    resets: AtomicU64,
    was_reset: Notify,
}

impl UncertainDeliveries {
    /// Covers all sequences until the stream's last one is known.
    pub(super) fn new() -> Self {
        Self { until: AtomicU64::new(u64::MAX), resets: AtomicU64::new(0), was_reset: Notify::new() }
    }

    /// Whether a first delivery with this sequence may be a redelivery.
    pub(super) fn covers(&self, sequence: u64) -> bool {
        sequence <= self.until.load(Ordering::Acquire)
    }

    /// Covers all sequences again. To be called when the connection or the stream's leader may have changed.
    pub(super) fn reset(&self) {
        self.resets.fetch_add(1, Ordering::AcqRel);
        self.until.store(u64::MAX, Ordering::Release);
        self.was_reset.notify_one();
    }

    /// Reads the stream's last sequence after each reset. Never completes.
    pub(super) async fn resolve(&self, tasks: &TaskStreams) {
        loop {
            self.was_reset.notified().await;
            let resets = self.resets.load(Ordering::Acquire);
            match tasks.context().get_stream(tasks.namespace().task_stream()).await {
                Ok(stream) => self.set_last(resets, stream.cached_info().state.last_sequence),
                Err(error) => {
                    tracing::debug!(%error, "the last sequence of the stream is unknown");
                    sleep(PAUSE).await;
                    self.was_reset.notify_one();
                }
            }
        }
    }

    /// Sets the stream's last sequence, as read after this many resets.
    fn set_last(&self, resets: u64, last: u64) {
        self.until.store(last, Ordering::Release);
        // A reset in the meantime: the value may be that of another server.
        if self.resets.load(Ordering::Acquire) != resets {
            self.until.store(u64::MAX, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_covers_the_sequences_that_existed_at_the_reset() {
        let uncertain = UncertainDeliveries::new();
        assert!(uncertain.covers(u64::MAX));
        uncertain.reset();
        uncertain.set_last(1, 7);
        assert!(uncertain.covers(7) && !uncertain.covers(8));
        uncertain.reset();
        assert!(uncertain.covers(8), "not known yet");
        uncertain.set_last(1, 7);
        assert!(uncertain.covers(8), "read before the last reset");
        uncertain.set_last(2, 9);
        assert!(uncertain.covers(9) && !uncertain.covers(10));
    }
}
