//! What happens when JetStream has no room for an outcome or a dead letter.
//!
//! Finishing must never wait for room, because only what is finished makes room: the ack of a request removes it from its
//! stream.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use narun_core::ExchangeId;
use narun_core::frame::{OutcomeRef, ResponseFrame};
use narun_nats::jetstream::{self, Backoff};
use tokio::time::Instant;

use super::state::WorkerState;
use super::store::StoreError;
use crate::metrics::NotStored;

/// How long to try to store an outcome after its request was acked. Its slot is in use in the meantime.
const PERSISTENCE: Duration = Duration::from_secs(5);

/// The pauses between two attempts.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));

/// The pause between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// An outcome for which there was no room.
pub(super) struct LateOutcome {
    pub(super) id: ExchangeId,
    pub(super) outcome: OutcomeRef,
    pub(super) response: Bytes,
}

/// When it was last said that the storage is full.
#[derive(Debug, Default)]
pub(super) struct FullStorage(Mutex<Option<Instant>>);

impl FullStorage {
    /// Whether to say it now.
    fn is_due(&self, now: Instant) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = said.is_none_or(|said| now >= said + WARN_EVERY);
        if is_due {
            *said = Some(now);
        }
        is_due
    }
}

impl WorkerState {
    /// Counts something that was not stored, and logs it if nothing was logged for a while.
    pub(super) fn storage_is_full(&self, what: NotStored, why: &StoreError) {
        self.metrics.not_stored(what);
        if self.full.is_due(Instant::now()) {
            tracing::warn!(app = %self.consumer.app, %why, ?what, "JetStream's storage is full");
        }
    }

    /// The status of an encoded response, 0 if it is unreadable.
    pub(super) fn status(&self, response: &Bytes) -> u16 {
        let limits = self.consumer.endpoint.limits().stored();
        ResponseFrame::decode(response, &limits).map_or(0, |frame| frame.parts.status.as_u16())
    }

    /// Stores an outcome after the ack of its request, which has made room. Without room for the response, the outcome
    /// says only that the request is done. Without room for that, it stays pending.
    pub(super) async fn store_late(&self, late: &LateOutcome) {
        let LateOutcome { id, outcome, response } = late;
        let Ok(outcomes) = self.outcomes().await else { return };
        let status = self.status(response);
        let attempt =
            async || match outcomes.done(*id, outcome, response.clone()).await.map_err(StoreError::from) {
                Err(why @ StoreError::Full(_)) => {
                    outcomes.not_kept(*id, outcome, status).await?;
                    self.storage_is_full(NotStored::Response, &why);
                    Ok(())
                }
                stored => stored,
            };
        let may_succeed = |error: &StoreError| !matches!(error, StoreError::Permanent(_));
        if let Err(why) = jetstream::retry(BACKOFF, Some(PERSISTENCE), may_succeed, attempt).await {
            tracing::debug!(%id, %why, "the outcome of a request that is done was not stored");
            self.storage_is_full(NotStored::Outcome, &why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_in_a_while() {
        let (full, now) = (FullStorage::default(), Instant::now());
        assert!(full.is_due(now));
        assert!(!full.is_due(now + WARN_EVERY / 2));
        assert!(full.is_due(now + WARN_EVERY));
        assert!(!full.is_due(now + WARN_EVERY));
    }
}
