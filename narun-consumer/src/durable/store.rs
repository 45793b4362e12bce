//! The outcomes of requests, in a bucket that is opened on first use, and what is common to it and the bucket of bodies.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use narun_core::ExchangeId;
use narun_core::frame::OutcomeRef;
use narun_nats::jetstream::{
    self, ApiError, Backoff, BodyStoreError, DeclareError, OutcomeError, OutcomeState, OutcomeStore,
};

use super::state::WorkerState;
use crate::log::FailureLog;

/// How long temporary errors are retried. The delivery is held in the meantime.
const PERSISTENCE: Duration = Duration::from_secs(30);

/// The pauses between two attempts.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));

/// Why something cannot be read or stored, as text.
#[derive(Debug)]
pub(super) enum StoreError {
    /// A retry may succeed.
    Temporary(String),
    /// A retry will not succeed.
    Permanent(String),
    /// There is no room. The end of other requests may make some.
    Full(String),
}

impl Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Temporary(why) | Self::Permanent(why) | Self::Full(why)) = self;
        f.write_str(why)
    }
}

impl From<DeclareError> for StoreError {
    fn from(error: DeclareError) -> Self {
        // An administrator can correct the bucket: the request is not at fault.
        Self::Temporary(error.to_string())
    }
}

impl From<OutcomeError> for StoreError {
    fn from(error: OutcomeError) -> Self {
        match error {
            OutcomeError::TooLarge | OutcomeError::Malformed(_) => Self::Permanent(error.to_string()),
            OutcomeError::Full => Self::Full(error.to_string()),
            _ => Self::Temporary(error.to_string()),
        }
    }
}

impl From<ApiError> for StoreError {
    fn from(error: ApiError) -> Self {
        match error.is_full() {
            true => Self::Full(error.to_string()),
            false => Self::Temporary(error.to_string()),
        }
    }
}

impl From<BodyStoreError> for StoreError {
    fn from(error: BodyStoreError) -> Self {
        match error {
            BodyStoreError::Missing | BodyStoreError::Corrupt => Self::Permanent(error.to_string()),
            _ => Self::Temporary(error.to_string()),
        }
    }
}

/// Retries temporary errors for a while. `what` says what failed, for the log.
pub(super) async fn retry<T, F>(
    log: &FailureLog,
    what: &'static str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let is_temporary = |error: &StoreError| {
        tracing::debug!(%error, "{what}");
        matches!(error, StoreError::Temporary(_))
    };
    // Boxed: these futures are large and rare, and would be part of the future of every delivery.
    let result = jetstream::retry(BACKOFF, Some(PERSISTENCE), is_temporary, || Box::pin(attempt())).await;
    if let Err(error @ (StoreError::Temporary(_) | StoreError::Permanent(_))) = &result {
        log.failed(what, Some(error), None);
    }
    result
}

impl WorkerState {
    /// Returns the bucket of outcomes.
    pub(super) async fn outcomes(&self) -> Result<&OutcomeStore, StoreError> {
        match self.outcomes.get() {
            Some(outcomes) => Ok(outcomes),
            None => {
                let open = || async { Ok(self.outcomes.get_or_try_init(|| self.tasks.outcomes()).await?) };
                retry(&self.consumer.failures, "opening the bucket of outcomes failed", open).await
            }
        }
    }

    /// Returns the outcome of a request that is done, or `None` if it is not done yet.
    pub(super) async fn done_outcome(&self, id: ExchangeId) -> Result<Option<OutcomeState>, StoreError> {
        let outcomes = self.outcomes().await?;
        let get = || async { Ok(outcomes.get(id).await?) };
        match retry(&self.consumer.failures, "reading an outcome failed", get).await {
            Ok(stored) => Ok(stored
                .map(|stored| stored.outcome.state)
                .filter(|state| !matches!(state, OutcomeState::Pending { .. }))),
            // An unreadable outcome is overwritten when the request is done.
            Err(StoreError::Permanent(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores that a request is done whose response is not known any more.
    pub(super) async fn store_not_kept(
        &self,
        id: ExchangeId,
        request: &OutcomeRef,
    ) -> Result<(), StoreError> {
        let outcomes = self.outcomes().await?;
        retry(&self.consumer.failures, "storing an outcome failed", || async {
            Ok(outcomes.not_kept(id, request, 0).await?)
        })
        .await
    }

    /// Stores a RESPONSE as the outcome of a request.
    pub(super) async fn store_response(
        &self,
        id: ExchangeId,
        request: &OutcomeRef,
        response: Bytes,
    ) -> Result<(), StoreError> {
        let outcomes = self.outcomes().await?;
        let put = || async {
            let put = outcomes.done(id, request, response.clone()).await.map_err(StoreError::from);
            if let Err(StoreError::Temporary(_)) = put {
                // If the bucket is missing, the next attempt finds it.
                let _ = self.tasks.outcomes().await;
            }
            put
        };
        retry(&self.consumer.failures, "storing an outcome failed", put).await
    }
}

#[cfg(test)]
mod tests {
    use narun_core::App;
    use narun_support::testing::Logs;

    use super::*;

    #[tokio::test]
    async fn what_fails_for_each_request_is_logged_once() {
        let logs = Logs::capture();
        let log = FailureLog::new(App::new("store-log").unwrap());
        for why in ["one", "two", "three"] {
            let attempt = || async { Err::<(), _>(StoreError::Permanent(why.to_owned())) };
            assert!(retry(&log, "storing failed", attempt).await.is_err());
        }
        assert_eq!(logs.events("storing failed", &[("app", "store-log")]).len(), 1);
    }
}
