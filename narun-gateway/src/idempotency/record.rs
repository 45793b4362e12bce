use std::time::Duration;

use bytes::Bytes;
use narun_core::frame::OutcomeRef;
use narun_core::{ExchangeId, Failure, FailureKind};
use narun_nats::jetstream::{
    Backoff, Created, Outcome, OutcomeError, OutcomeState, OutcomeStore, StoredOutcome,
};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// The pauses between two reads of a record.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(25), Duration::from_millis(500));

/// How long a change may take that no request waits for.
const BACKGROUND: Duration = Duration::from_secs(1);

/// The outcome record of one request, in the bucket of outcomes.
#[derive(Clone, Debug)]
pub(crate) struct IdempotencyRecord {
    outcomes: OutcomeStore,
    id: ExchangeId,
    digest: [u8; 32],
    scope: Option<[u8; 32]>,
}

/// What to do with a request, after its record was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Publish it.
    Publish {
        /// The record's revision, for [`IdempotencyRecord::mark_published`] and [`IdempotencyRecord::forget`].
        revision: u64,
        /// The attempt. Consumers read the record before they handle any attempt but the first, 0.
        attempt: u8,
    },
    /// Respond with this RESPONSE frame: the request is done.
    Done(Bytes),
    /// Another request with the key was published, and is not done in time.
    Pending,
}

/// The state of a request that another one published.
enum Found {
    Done(Bytes),
    Pending,
    /// The record is gone: the request was not published, or the record has expired.
    Nothing,
}

impl IdempotencyRecord {
    pub(crate) const fn new(
        outcomes: OutcomeStore,
        id: ExchangeId,
        digest: [u8; 32],
        scope: Option<[u8; 32]>,
    ) -> Self {
        Self { outcomes, id, digest, scope }
    }

    /// The id of the request, and of its record.
    pub(crate) const fn id(&self) -> ExchangeId {
        self.id
    }

    /// The reference to this record for the request's consumer.
    pub(crate) fn reference(&self) -> OutcomeRef {
        OutcomeRef { bucket: self.outcomes.bucket().to_owned(), digest: self.digest, scope: self.scope }
    }

    /// Creates the record, or decides what to do if it exists. Takes no longer than until `deadline`.
    ///
    /// If the request was published, waits for its outcome until `wait`. If it was not, because its gateway died, it has to be
    /// published again. Within half of `window`, any gateway may do that, because the server drops duplicates; later, the
    /// gateway that changes the record first.
    ///
    /// Cancel safe: the next request with the key takes over a record whose request was never published.
    ///
    /// # Errors
    ///
    /// [`FailureKind::KeyReused`] if the record is that of another request, and the failures of reading and writing it.
    pub(crate) async fn claim(
        &self,
        window: Duration,
        wait: Instant,
        deadline: Instant,
    ) -> Result<Claim, Failure> {
        let pending = self.pending(false);
        loop {
            let created = self.outcomes.create(self.id, &pending);
            let kept = match in_time(deadline, created).await? {
                Ok(Created::New(revision)) => return Ok(Claim::Publish { revision, attempt: 0 }),
                Ok(Created::Exists(kept)) => kept,
                // It changed between the two requests that `create` consists of.
                Err(OutcomeError::Conflict) if Instant::now() < deadline => continue,
                Err(error) => return Err(failure(&error)),
            };
            match self.state(kept.outcome)? {
                OutcomeState::Done { response } => return Ok(Claim::Done(response)),
                OutcomeState::NotKept { status } => return Err(not_kept(status)),
                OutcomeState::Pending { published: true } => match self.poll(wait, deadline).await? {
                    Found::Done(response) => return Ok(Claim::Done(response)),
                    Found::Pending => return Ok(Claim::Pending),
                    Found::Nothing => {}
                },
                // Never the first attempt: the other gateway may have published it before it died.
                OutcomeState::Pending { published: false } if kept.age < window / 2 => {
                    return Ok(Claim::Publish { revision: kept.revision, attempt: 1 });
                }
                OutcomeState::Pending { published: false } => {
                    let update = self.outcomes.update(self.id, &pending, kept.revision);
                    match in_time(deadline, update).await? {
                        Ok(revision) => return Ok(Claim::Publish { revision, attempt: 1 }),
                        Err(OutcomeError::Conflict) => {}
                        Err(error) => return Err(failure(&error)),
                    }
                }
            }
        }
    }

    /// Waits until the request is done, which another one published. Returns `None` if it is not done until `wait`.
    ///
    /// Cancel safe.
    pub(crate) async fn outcome(&self, wait: Instant, deadline: Instant) -> Result<Option<Bytes>, Failure> {
        Ok(match self.poll(wait, deadline).await? {
            Found::Done(response) => Some(response),
            Found::Pending | Found::Nothing => None,
        })
    }

    /// Marks the request as published, so that it is not published again. Gives up after a time.
    ///
    /// Cancel safe: a request without the mark is published again, and the stream drops the duplicate within its window.
    /// After that, consumers read the record before they handle it.
    pub(crate) async fn mark_published(&self, revision: u64) {
        match timeout(BACKGROUND, self.publish_state(revision)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, id = %self.id, "the record was not marked as published")
            }
            Err(_) => tracing::debug!(id = %self.id, "the record was not marked as published in time"),
        }
    }

    /// Deletes the record of a request that the stream refused. Gives up after a time.
    pub(crate) async fn forget(&self, revision: u64) {
        match timeout(BACKGROUND, self.outcomes.forget(self.id, revision)).await {
            // Another request has published it.
            Ok(Ok(()) | Err(OutcomeError::Conflict)) => {}
            Ok(Err(error)) => tracing::debug!(%error, id = %self.id, "the record was not deleted"),
            Err(_) => tracing::debug!(id = %self.id, "the record was not deleted in time"),
        }
    }

    /// Marks a pending record as published, even if it has changed: another gateway may have taken it over, or deleted it
    /// because its own attempt was not stored.
    async fn publish_state(&self, mut revision: u64) -> Result<(), OutcomeError> {
        let published = self.pending(true);
        loop {
            match self.outcomes.update(self.id, &published, revision).await {
                Err(OutcomeError::Conflict) => {}
                result => return result.map(drop),
            }
            match self.outcomes.create(self.id, &published).await {
                Ok(Created::Exists(StoredOutcome { outcome, revision: now, .. }))
                    if outcome.state == (OutcomeState::Pending { published: false }) =>
                {
                    revision = now;
                }
                Err(OutcomeError::Conflict) => {}
                result => return result.map(drop),
            }
        }
    }

    /// Reads the record until the request is done or the record is gone, until `wait`, but at least once before `deadline`.
    async fn poll(&self, wait: Instant, deadline: Instant) -> Result<Found, Failure> {
        let mut backoff = BACKOFF;
        loop {
            match timeout_at(deadline, self.outcomes.get(self.id)).await {
                Ok(Ok(None)) => return Ok(Found::Nothing),
                Ok(Ok(Some(StoredOutcome { outcome, .. }))) => match self.state(outcome)? {
                    OutcomeState::Done { response } => return Ok(Found::Done(response)),
                    OutcomeState::NotKept { status } => return Err(not_kept(status)),
                    OutcomeState::Pending { .. } => {}
                },
                Ok(Err(error @ (OutcomeError::Malformed(_) | OutcomeError::NotPermitted(_)))) => {
                    return Err(failure(&error));
                }
                // The request may be done all the same, and the next read may succeed.
                Ok(Err(error)) => tracing::debug!(%error, id = %self.id, "the record was not read"),
                Err(_) => return Ok(Found::Pending),
            }
            let now = Instant::now();
            if now >= wait {
                return Ok(Found::Pending);
            }
            sleep_until((now + backoff.advance()).min(wait)).await;
        }
    }

    /// The state of this request, if the outcome is that of this request.
    fn state(&self, outcome: Outcome) -> Result<OutcomeState, Failure> {
        if outcome.digest == self.digest && outcome.scope == self.scope {
            Ok(outcome.state)
        } else {
            Err(FailureKind::KeyReused.into())
        }
    }

    const fn pending(&self, published: bool) -> Outcome {
        Outcome { digest: self.digest, scope: self.scope, state: OutcomeState::Pending { published } }
    }
}

async fn in_time<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Failure> {
    timeout_at(deadline, future).await.map_err(|_| {
        Failure::new(FailureKind::JetStreamUnavailable).with_cause("the outcome record was not read in time")
    })
}

/// The failure of a request that was done, if its response was not kept.
pub(crate) fn not_kept(status: u16) -> Failure {
    Failure::new(FailureKind::ResponseNotKept).with_detail(format!("its status was {status}"))
}

/// The failure of a request whose record cannot be read or written. It is logged with the request.
pub(crate) fn failure(error: &OutcomeError) -> Failure {
    let kind = match error {
        OutcomeError::Malformed(_) => FailureKind::BadResponse,
        OutcomeError::Full => FailureKind::StreamFull,
        OutcomeError::NotPermitted(_) => FailureKind::NotPermitted,
        OutcomeError::NoLeader => FailureKind::NoLeader,
        _ => FailureKind::JetStreamUnavailable,
    };
    Failure::new(kind).with_cause(format!("an outcome record cannot be read or written: {error}"))
}
