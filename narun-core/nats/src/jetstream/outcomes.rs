mod record;
mod secret;

pub use record::{Outcome, OutcomeState, decode as decode_outcome, encode as encode_outcome};
pub use secret::KeySecret;
pub(super) use secret::check_every;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream::Context;
use bytes::Bytes;

use super::api::{Api, ApiError, StoredMessage};
use crate::permissions::Denied;
use narun_core::ExchangeId;
use narun_core::frame::OutcomeRef;
use secret::KnownSecret;

/// The bucket of outcomes: the results of durable requests by request id, and the secret of the namespace.
#[derive(Clone, Debug)]
pub struct OutcomeStore {
    api: Api<Context>,
    bucket: String,
    stream: String,
    /// What subjects of writes begin with. In another domain that is the domain's API, which servers map to the bucket.
    writes: String,
    /// How long a value is kept after its last change, at least.
    ttl: Duration,
    secret: Arc<KnownSecret>,
}

/// An outcome in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOutcome {
    /// The outcome.
    pub outcome: Outcome,
    /// Its revision, for [`update`](OutcomeStore::update) and [`forget`](OutcomeStore::forget).
    pub revision: u64,
    /// The time since its last change: the difference of this machine's clock and the server's timestamp.
    pub age: Duration,
}

/// The result of [`OutcomeStore::create`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was created, with this revision.
    New(u64),
    /// There was one already.
    Exists(StoredOutcome),
}

/// Why an outcome could not be read or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutcomeError {
    /// The value is over the bucket's limit.
    #[error("the outcome is too large to be stored")]
    TooLarge,
    /// The stored value is no outcome.
    #[error("the stored outcome is malformed: {0}")]
    Malformed(String),
    /// It does not have the expected revision any more.
    #[error("the outcome was changed meanwhile")]
    Conflict,
    /// The bucket is full.
    #[error("the bucket of outcomes is full")]
    Full,
    /// The bucket has no leader: a retry may succeed once enough servers are back.
    #[error("the bucket of outcomes has no leader")]
    NoLeader,
    /// The user lacks a permission.
    #[error(transparent)]
    NotPermitted(Denied),
    /// There was no response or no connection, or the server refused: a retry may succeed.
    #[error("the bucket of outcomes cannot be reached: {0}")]
    Unavailable(String),
}

/// How often creation is tried if others create and forget the outcome at the same time.
const ATTEMPTS: usize = 3;

impl OutcomeStore {
    pub(super) fn new(api: Api<Context>, bucket: String, ttl: Duration, has_domain: bool) -> Self {
        let direct = format!("$KV.{bucket}");
        let writes = if has_domain { api.subject(&direct) } else { direct };
        Self { api, stream: format!("KV_{bucket}"), bucket, writes, ttl, secret: Arc::default() }
    }

    /// Stores an outcome unless there is one for this id.
    pub async fn create(&self, id: ExchangeId, outcome: &Outcome) -> Result<Created, OutcomeError> {
        let mut revision = 0;
        for _ in 0..ATTEMPTS {
            match self.update(id, outcome, revision).await {
                Err(OutcomeError::Conflict) => {}
                updated => return updated.map(Created::New),
            }
            // There is an outcome, or the marker of a forgotten one, whose revision the new one has to name.
            let stored = self.stored(id).await?;
            revision = stored.as_ref().map_or(0, |stored| stored.message.sequence);
            if let Some(kept) = stored.as_ref().map(kept).transpose()?.flatten() {
                return Ok(Created::Exists(kept));
            }
        }
        Err(OutcomeError::Conflict)
    }

    /// Returns the outcome for this id, `None` if there is none.
    pub async fn get(&self, id: ExchangeId) -> Result<Option<StoredOutcome>, OutcomeError> {
        Ok(self.stored(id).await?.as_ref().map(kept).transpose()?.flatten())
    }

    /// Changes an outcome if it still has this revision. Returns the new revision.
    pub async fn update(
        &self,
        id: ExchangeId,
        outcome: &Outcome,
        revision: u64,
    ) -> Result<u64, OutcomeError> {
        self.publish(id, expecting(revision), record::encode(outcome)).await
    }

    /// Stores a RESPONSE frame as the outcome, in place of any other one.
    pub async fn done(
        &self,
        id: ExchangeId,
        request: &OutcomeRef,
        response: Bytes,
    ) -> Result<(), OutcomeError> {
        self.put(id, request, OutcomeState::Done { response }).await
    }

    /// Stores that the request is done, without its response, in place of any other outcome. Needs little room, and none in a
    /// full bucket that has the pending outcome.
    pub async fn not_kept(
        &self,
        id: ExchangeId,
        request: &OutcomeRef,
        status: u16,
    ) -> Result<(), OutcomeError> {
        self.put(id, request, OutcomeState::NotKept { status }).await
    }

    /// Makes the request pending and published again, whatever its outcome is. The caller is about to publish it.
    pub async fn reopen(&self, id: ExchangeId, request: &OutcomeRef) -> Result<(), OutcomeError> {
        self.put(id, request, OutcomeState::Pending { published: true }).await
    }

    /// Deletes an outcome if it still has this revision, because the request was never published.
    ///
    /// It is purged, not replaced by the marker of a deletion, for which there may be no room.
    pub async fn forget(&self, id: ExchangeId, revision: u64) -> Result<(), OutcomeError> {
        let subject = self.subject(&id.to_string());
        match self.api.purge_until(&self.stream, &subject, revision).await? {
            0 => Err(OutcomeError::Conflict),
            _ => Ok(()),
        }
    }

    /// The name of the bucket. References to other buckets are not followed.
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
        self.read(&id.to_string()).await
    }

    async fn publish(&self, id: ExchangeId, headers: HeaderMap, value: Bytes) -> Result<u64, OutcomeError> {
        self.write(&id.to_string(), headers, value).await
    }

    /// Stores a value, or the marker of a deletion. Returns its revision.
    async fn write(&self, key: &str, headers: HeaderMap, value: Bytes) -> Result<u64, OutcomeError> {
        Ok(self.api.publish(format!("{}.{key}", self.writes), headers, value).await?)
    }

    /// The last value or marker of a key.
    async fn read(&self, key: &str) -> Result<Option<StoredMessage>, OutcomeError> {
        Ok(self.api.last_message(&self.stream, &self.subject(key)).await?)
    }

    /// The subject of a key in the bucket's stream.
    fn subject(&self, key: &str) -> String {
        format!("$KV.{}.{key}", self.bucket)
    }
}

impl From<ApiError> for OutcomeError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Denied(denied) => Self::NotPermitted(denied),
            error if error.is_too_large() => Self::TooLarge,
            error if error.is_conflict() => Self::Conflict,
            error if error.is_full() => Self::Full,
            error if error.is_leaderless() => Self::NoLeader,
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// Every revision has the same length: a full bucket takes no value that is larger than the one it replaces.
fn expecting(revision: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, format!("{revision:020}"));
    headers
}

/// The outcome in a message; `None` for the marker of a deletion, which is empty.
fn kept(stored: &StoredMessage) -> Result<Option<StoredOutcome>, OutcomeError> {
    if stored.payload.is_empty() {
        return Ok(None);
    }
    let outcome = record::decode(&stored.payload).map_err(|what| OutcomeError::Malformed(what.to_owned()))?;
    let age = SystemTime::now().duration_since(stored.message.time.into()).unwrap_or_default();
    Ok(Some(StoredOutcome { outcome, revision: stored.message.sequence, age }))
}
