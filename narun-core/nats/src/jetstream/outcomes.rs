mod record;

pub use record::{Outcome, OutcomeState};

use std::time::{Duration, SystemTime};

use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream::Context;
use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;

use super::api::{Api, ApiError, StoredMessage};
use narun_core::ExchangeId;
use narun_core::frame::OutcomeRef;

/// The bucket of outcomes: what became of requests, under their ids.
#[derive(Clone, Debug)]
pub struct OutcomeStore {
    api: Api<Context>,
    bucket: String,
    stream: String,
}

/// An outcome as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOutcome {
    /// The outcome.
    pub outcome: Outcome,
    /// Its revision, for conditional changes.
    pub revision: u64,
    /// How long ago it was last changed, by this machine's clock and the server's.
    pub age: Duration,
}

/// What came of [`OutcomeStore::create`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// There was none; this is its revision.
    New(u64),
    /// There is one already.
    Exists(StoredOutcome),
}

/// Why an outcome was not read or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutcomeError {
    /// The value is over the bucket's limit.
    #[error("the outcome is too large to be kept")]
    TooLarge,
    /// What is kept is none of narun's.
    #[error("what is kept of the request cannot be read: {0}")]
    Malformed(String),
    /// Somebody else changed it in between.
    #[error("the outcome was changed in between")]
    Conflict,
    /// The bucket is full.
    #[error("the bucket of outcomes is full")]
    Full,
    /// No answer, no connection, no leader: worth trying again.
    #[error("the bucket of outcomes cannot be reached: {0}")]
    Unavailable(String),
}

/// How often a record is made anew that comes and goes meanwhile.
const ATTEMPTS: usize = 3;

impl OutcomeStore {
    pub(super) fn new(api: Api<Context>, bucket: String) -> Self {
        Self { api, stream: format!("KV_{bucket}"), bucket }
    }

    /// Keeps an outcome if there is none for this id.
    pub async fn create(&self, id: ExchangeId, outcome: &Outcome) -> Result<Created, OutcomeError> {
        let mut revision = 0;
        for _ in 0..ATTEMPTS {
            match self.update(id, outcome, revision).await {
                Err(OutcomeError::Conflict) => {}
                updated => return updated.map(Created::New),
            }
            // There is a record, or the mark of one that was forgotten, on which the new one follows.
            let stored = self.stored(id).await?;
            revision = stored.as_ref().map_or(0, |stored| stored.message.sequence);
            if let Some(kept) = stored.as_ref().map(kept).transpose()?.flatten() {
                return Ok(Created::Exists(kept));
            }
        }
        Err(OutcomeError::Conflict)
    }

    /// What is kept for this id.
    pub async fn get(&self, id: ExchangeId) -> Result<Option<StoredOutcome>, OutcomeError> {
        Ok(self.stored(id).await?.as_ref().map(kept).transpose()?.flatten())
    }

    /// Changes an outcome that still has this revision; returns the new one.
    pub async fn update(
        &self,
        id: ExchangeId,
        outcome: &Outcome,
        revision: u64,
    ) -> Result<u64, OutcomeError> {
        self.publish(id, expecting(revision), record::encode(outcome)).await
    }

    /// Keeps this RESPONSE frame as the answer, whatever was there before; returns once it is stored.
    pub async fn done(
        &self,
        id: ExchangeId,
        request: &OutcomeRef,
        response: Bytes,
    ) -> Result<(), OutcomeError> {
        self.put(id, request, OutcomeState::Done { response }).await
    }

    /// Makes the request pending again, whatever was there before: it is about to be put back, by somebody who sees to
    /// it that it is published.
    pub async fn reopen(&self, id: ExchangeId, request: &OutcomeRef) -> Result<(), OutcomeError> {
        self.put(id, request, OutcomeState::Pending { published: true }).await
    }

    /// Forgets the request if its outcome still has this revision: it was never published.
    pub async fn forget(&self, id: ExchangeId, revision: u64) -> Result<(), OutcomeError> {
        let mut headers = expecting(revision);
        headers.insert("KV-Operation", "DEL");
        self.publish(id, headers, Bytes::new()).await.map(drop)
    }

    /// The bucket's name, which references must have.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    async fn put(
        &self,
        id: ExchangeId,
        request: &OutcomeRef,
        state: OutcomeState,
    ) -> Result<(), OutcomeError> {
        let outcome = Outcome { digest: request.digest, scope: request.scope, state };
        self.publish(id, HeaderMap::new(), record::encode(&outcome)).await.map(drop)
    }

    async fn stored(&self, id: ExchangeId) -> Result<Option<StoredMessage>, OutcomeError> {
        Ok(self.api.last_message(&self.stream, &self.subject(id)).await?)
    }

    async fn publish(&self, id: ExchangeId, headers: HeaderMap, value: Bytes) -> Result<u64, OutcomeError> {
        Ok(self.api.publish(self.subject(id), headers, value).await?)
    }

    fn subject(&self, id: ExchangeId) -> String {
        format!("$KV.{}.{id}", self.bucket)
    }
}

impl From<ApiError> for OutcomeError {
    fn from(error: ApiError) -> Self {
        match error {
            error if error.is_too_large() => Self::TooLarge,
            error if error.is_conflict() => Self::Conflict,
            error if error.is_full() => Self::Full,
            error => Self::Unavailable(error.to_string()),
        }
    }
}

fn expecting(revision: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(revision));
    headers
}

/// What a message keeps; nothing if it is the mark of a deletion, which alone is empty.
fn kept(stored: &StoredMessage) -> Result<Option<StoredOutcome>, OutcomeError> {
    if stored.payload.is_empty() {
        return Ok(None);
    }
    let outcome = record::decode(&stored.payload).map_err(|what| OutcomeError::Malformed(what.to_owned()))?;
    let age = SystemTime::now().duration_since(stored.message.time.into()).unwrap_or_default();
    Ok(Some(StoredOutcome { outcome, revision: stored.message.sequence, age }))
}
