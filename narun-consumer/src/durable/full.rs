//! What happens when JetStream has no room for an outcome or a dead letter.
//!
//! Finishing must never wait for room, because only what is finished makes room: the ack of a request removes it from its
//! stream.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use narun_core::ExchangeId;
use narun_core::frame::{OutcomeRef, ResponseFrame};
use narun_nats::jetstream::{self, Backoff};

use super::state::WorkerState;
use super::store::StoreError;
use crate::metrics::NotStored;

/// How long to try to store an outcome after its request was acked. Its slot is in use in the meantime.
const PERSISTENCE: Duration = Duration::from_secs(5);

/// The pauses between two attempts.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));

/// An outcome for which there was no room.
pub(super) struct LateOutcome {
    pub(super) id: ExchangeId,
    pub(super) outcome: OutcomeRef,
    pub(super) response: Bytes,
    /// That of the request, for the log.
    pub(super) request_id: Option<HeaderValue>,
}

impl WorkerState {
    /// Counts and logs something that was not stored.
    pub(super) fn storage_is_full(
        &self,
        what: NotStored,
        why: &StoreError,
        request_id: Option<&HeaderValue>,
    ) {
        self.metrics.not_stored(what);
        self.consumer.failures.not_stored(what.label(), why, request_id);
    }

    /// The status of an encoded response, 0 if it is unreadable.
    pub(super) fn status(&self, response: &Bytes) -> u16 {
        let limits = self.consumer.endpoint.limits().stored();
        ResponseFrame::decode(response, &limits).map_or(0, |frame| frame.parts.status.as_u16())
    }

    /// Stores an outcome after the ack of its request, which has made room. Without room for the response, the outcome
    /// says only that the request is done. Without room for that, it stays pending.
    pub(super) async fn store_late(&self, late: &LateOutcome) {
        let LateOutcome { id, outcome, response, request_id } = late;
        let Ok(outcomes) = self.outcomes().await else { return };
        let status = self.status(response);
        let attempt =
            async || match outcomes.done(*id, outcome, response.clone()).await.map_err(StoreError::from) {
                Err(why @ StoreError::Full(_)) => {
                    outcomes.not_kept(*id, outcome, status).await?;
                    self.storage_is_full(NotStored::Response, &why, request_id.as_ref());
                    Ok(())
                }
                stored => stored,
            };
        let may_succeed = |error: &StoreError| !matches!(error, StoreError::Permanent(_));
        if let Err(why) = jetstream::retry(BACKOFF, Some(PERSISTENCE), may_succeed, attempt).await {
            tracing::debug!(%id, %why, "the outcome of a request that is done was not stored");
            self.storage_is_full(NotStored::Outcome, &why, request_id.as_ref());
        }
    }
}
