use std::time::Duration;

use bytes::Bytes;
use narun_core::frame::OutcomeRef;
use narun_core::{ExchangeId, Failure, FailureKind};
use narun_nats::jetstream::{
    Backoff, Created, Outcome, OutcomeError, OutcomeState, OutcomeStore, StoredOutcome,
};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// The pauses between looks at a record that is to change.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(25), Duration::from_millis(500));

/// How long is waited for a change that nobody waits for.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// What is kept of one request, under its id.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    outcomes: OutcomeStore,
    id: ExchangeId,
    digest: [u8; 32],
    scope: Option<[u8; 32]>,
}

/// What is to be done with a request, once its record has been looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Publish it.
    Publish {
        /// The record's revision, for [`Record::mark_published`] and [`Record::forget`].
        revision: u64,
        /// As which attempt: consumers look at the record before they run any but the first, 0.
        attempt: u8,
    },
    /// Answer with this RESPONSE frame: it is done already.
    Done(Bytes),
    /// Somebody else published it, and it was not done in the time given.
    Pending,
}

/// What was found of a request that somebody else published.
enum Found {
    Done(Bytes),
    Pending,
    /// Its record is gone: it was never published, or is too old.
    Nothing,
}

impl Record {
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

    /// What the request's consumer is told of it.
    pub(crate) fn reference(&self) -> OutcomeRef {
        OutcomeRef { bucket: self.outcomes.bucket().to_owned(), digest: self.digest, scope: self.scope }
    }

    /// Creates the record, or finds out what is to be done where there is one.
    ///
    /// A request that was published is waited for until `wait`. One that was not, since its gateway died, is to be
    /// published again: while it is younger than `window`, the server drops whatever was published before all the same;
    /// later, whoever changes the record first is to do it. Nothing takes longer than until `deadline`.
    ///
    /// Cancel safe: a record that was made and never published is taken over by the next request with its key.
    ///
    /// # Errors
    ///
    /// [`FailureKind::KeyReused`] if the record is another request's, and what keeps it from being read.
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
                // Between the two looks that creating is.
                Err(OutcomeError::Conflict) if Instant::now() < deadline => continue,
                Err(error) => return Err(failure(&error)),
            };
            match self.state(kept.outcome)? {
                OutcomeState::Done { response } => return Ok(Claim::Done(response)),
                OutcomeState::Pending { published: true } => match self.look(wait, deadline).await? {
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

    /// Waits until the request, which somebody else published, is done.
    ///
    /// Cancel safe. None if it is not done until `wait`.
    pub(crate) async fn answer(&self, wait: Instant, deadline: Instant) -> Result<Option<Bytes>, Failure> {
        Ok(match self.look(wait, deadline).await? {
            Found::Done(response) => Some(response),
            Found::Pending | Found::Nothing => None,
        })
    }

    /// Notes that the stream has the request, so that nobody publishes it again. Gives up by itself.
    ///
    /// Cancel safe: what is not noted is found out by publishing again, which the stream recognises for as long as its
    /// window for duplicates lasts; after that, consumers look at the record before they run what was published twice.
    pub(crate) async fn mark_published(&self, revision: u64) {
        match timeout(AFTERWARDS, self.publish_state(revision)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, id = %self.id, "not marked as published"),
            Err(_) => tracing::debug!(id = %self.id, "not marked as published in time"),
        }
    }

    /// Forgets the request, which the stream did not take. Gives up by itself.
    pub(crate) async fn forget(&self, revision: u64) {
        match timeout(AFTERWARDS, self.outcomes.forget(self.id, revision)).await {
            // Somebody else has published it.
            Ok(Ok(()) | Err(OutcomeError::Conflict)) => {}
            Ok(Err(error)) => tracing::debug!(%error, id = %self.id, "not forgotten"),
            Err(_) => tracing::debug!(id = %self.id, "not forgotten in time"),
        }
    }

    /// Changes a pending record to a published one, whoever changed it last: another gateway may have taken it over, or
    /// have forgotten it as its own attempt was not stored.
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

    /// Looks at the record until it is done or gone, at least once if that takes no longer than until `deadline`.
    async fn look(&self, wait: Instant, deadline: Instant) -> Result<Found, Failure> {
        let mut backoff = BACKOFF;
        loop {
            match timeout_at(deadline, self.outcomes.get(self.id)).await {
                Ok(Ok(None)) => return Ok(Found::Nothing),
                Ok(Ok(Some(StoredOutcome { outcome, .. }))) => {
                    if let OutcomeState::Done { response } = self.state(outcome)? {
                        return Ok(Found::Done(response));
                    }
                }
                Ok(Err(error @ OutcomeError::Malformed(_))) => return Err(failure(&error)),
                // The request is on its way all the same, and the next look may be luckier.
                Ok(Err(error)) => tracing::debug!(%error, id = %self.id, "no outcome to be read"),
                Err(_) => return Ok(Found::Pending),
            }
            let now = Instant::now();
            if now >= wait {
                return Ok(Found::Pending);
            }
            sleep_until((now + backoff.advance()).min(wait)).await;
        }
    }

    /// What became of this request, if the outcome is its.
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
        Failure::new(FailureKind::JetStreamUnavailable)
            .with_detail("the outcome's record did not answer in time")
    })
}

/// What the client is told of a record that cannot be used.
pub(crate) fn failure(error: &OutcomeError) -> Failure {
    let kind = match error {
        OutcomeError::Malformed(_) => FailureKind::BadResponse,
        OutcomeError::Full => FailureKind::StreamFull,
        _ => FailureKind::JetStreamUnavailable,
    };
    tracing::warn!(%error, "the outcomes cannot be used");
    Failure::new(kind).with_detail(error.to_string())
}
