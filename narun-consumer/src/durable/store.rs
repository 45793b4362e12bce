//! Outcomes and bodies of requests, in buckets that are opened when first needed.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use narun_core::ExchangeId;
use narun_core::frame::{ObjectRef, OutcomeRef};
use narun_nats::jetstream::{
    Backoff, BodyStore, BodyStoreError, DeclareError, OutcomeError, OutcomeState, OutcomeStore, retry,
};

use super::state::Shared;

/// How long something is tried that may work later. The work is held all the while.
const PERSISTENCE: Duration = Duration::from_secs(30);

/// The pauses between two tries.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));

/// Why something cannot be had or kept, for people.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may work later.
    Temporary(String),
    /// It never will.
    Final(String),
}

impl Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Temporary(why) | Self::Final(why)) = self;
        f.write_str(why)
    }
}

impl From<DeclareError> for Trouble {
    fn from(error: DeclareError) -> Self {
        // What others have to mend may be mended: it is not the request's fault.
        Self::Temporary(error.to_string())
    }
}

impl From<OutcomeError> for Trouble {
    fn from(error: OutcomeError) -> Self {
        match error {
            OutcomeError::TooLarge | OutcomeError::Malformed(_) => Self::Final(error.to_string()),
            _ => Self::Temporary(error.to_string()),
        }
    }
}

impl From<BodyStoreError> for Trouble {
    fn from(error: BodyStoreError) -> Self {
        match error {
            BodyStoreError::Missing | BodyStoreError::Corrupt => Self::Final(error.to_string()),
            _ => Self::Temporary(error.to_string()),
        }
    }
}

/// Tries for a while until it works.
pub(super) async fn trying<T, F>(what: &str, mut attempt: impl FnMut() -> F) -> Result<T, Trouble>
where
    F: Future<Output = Result<T, Trouble>>,
{
    let is_temporary = |error: &Trouble| {
        tracing::debug!(%error, "{what} failed");
        matches!(error, Trouble::Temporary(_))
    };
    // Boxed: such work is large and rare, and the future of every delivery has a place for it.
    let result = retry(BACKOFF, Some(PERSISTENCE), is_temporary, || Box::pin(attempt())).await;
    if let Err(error) = &result {
        tracing::error!(%error, "{what} failed");
    }
    result
}

impl Shared {
    /// The bucket of outcomes.
    pub(super) async fn outcomes(&self) -> Result<&OutcomeStore, Trouble> {
        match self.outcomes.get() {
            Some(outcomes) => Ok(outcomes),
            None => {
                let open = || async { Ok(self.outcomes.get_or_try_init(|| self.tasks.outcomes()).await?) };
                trying("opening the bucket of outcomes", open).await
            }
        }
    }

    async fn bodies(&self) -> Result<&BodyStore, Trouble> {
        match self.bodies.get() {
            Some(bodies) => Ok(bodies),
            None => {
                let open = || async { Ok(self.bodies.get_or_try_init(|| self.tasks.bodies()).await?) };
                trying("opening the bucket of bodies", open).await
            }
        }
    }

    /// The response of a request that is done.
    pub(super) async fn done(&self, id: ExchangeId) -> Result<Option<Bytes>, Trouble> {
        let outcomes = self.outcomes().await?;
        let get = || async { Ok(outcomes.get(id).await?) };
        match trying("reading an outcome", get).await {
            Ok(kept) => Ok(kept.and_then(|kept| match kept.outcome.state {
                OutcomeState::Done { response } => Some(response),
                OutcomeState::Pending { .. } => None,
            })),
            // It is overwritten when the request is done.
            Err(Trouble::Final(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a RESPONSE as the outcome of a request.
    pub(super) async fn keep(
        &self,
        id: ExchangeId,
        request: &OutcomeRef,
        response: Bytes,
    ) -> Result<(), Trouble> {
        let outcomes = self.outcomes().await?;
        let put = || async {
            let put = outcomes.done(id, request, response.clone()).await.map_err(Trouble::from);
            if let Err(Trouble::Temporary(_)) = put {
                // Should the bucket be missing, the next try finds it.
                let _ = self.tasks.outcomes().await;
            }
            put
        };
        trying("keeping an outcome", put).await
    }

    /// The body that a request refers to.
    pub(super) async fn body(&self, object: &ObjectRef) -> Result<Bytes, Trouble> {
        let bodies = self.bodies().await?;
        trying("reading a body", || async { Ok(bodies.get(object).await?) }).await
    }

    /// Deletes a body that is not needed any more.
    pub(super) async fn delete(&self, object: &ObjectRef) {
        if let Ok(bodies) = self.bodies().await
            && let Err(error) = bodies.delete(object).await
        {
            tracing::warn!(%error, object = object.name, "a body that is not needed any more stays in its bucket");
        }
    }
}
