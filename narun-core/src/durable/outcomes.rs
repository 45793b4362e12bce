use std::time::Duration;

use async_nats::jetstream::kv;
use bytes::Bytes;

use crate::ExchangeId;
use crate::frame::OutcomeRef;

/// The bucket of outcomes: what became of requests, under their ids.
#[derive(Clone, Debug)]
pub struct Outcomes {
    #[expect(dead_code)]
    store: kv::Store,
}

/// What is kept of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// SHA-256 of method, target and body.
    pub digest: [u8; 32],
    /// SHA-256 of the caller's name, if the outcome is told to that caller only.
    pub scope: Option<[u8; 32]>,
    /// What became of it.
    pub state: State,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is not done.
    Pending {
        /// Whether the stream is known to have taken it.
        published: bool,
    },
    /// It is done: this RESPONSE frame was the answer.
    Done {
        /// The frame.
        response: Bytes,
    },
}

/// An outcome as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The outcome.
    pub outcome: Outcome,
    /// Its revision, for conditional changes.
    pub revision: u64,
    /// How long ago it was last changed, by this machine's clock and the server's.
    pub age: Duration,
}

/// What came of [`Outcomes::create`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// There was none; this is its revision.
    New(u64),
    /// There is one already.
    Exists(Kept),
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

impl Outcomes {
    /// Keeps an outcome if there is none for this id.
    pub async fn create(&self, _id: ExchangeId, _outcome: &Outcome) -> Result<Created, OutcomeError> {
        todo!()
    }

    /// What is kept for this id.
    pub async fn get(&self, _id: ExchangeId) -> Result<Option<Kept>, OutcomeError> {
        todo!()
    }

    /// Changes an outcome that still has this revision; returns the new one.
    pub async fn update(
        &self,
        _id: ExchangeId,
        _outcome: &Outcome,
        _revision: u64,
    ) -> Result<u64, OutcomeError> {
        todo!()
    }

    /// Keeps this RESPONSE frame as the answer, whatever was there before; returns once it is stored.
    pub async fn done(
        &self,
        _id: ExchangeId,
        _request: &OutcomeRef,
        _response: Bytes,
    ) -> Result<(), OutcomeError> {
        todo!()
    }

    /// Makes the request pending again, whatever was there before: it has been put back.
    pub async fn reopen(&self, _id: ExchangeId, _request: &OutcomeRef) -> Result<(), OutcomeError> {
        todo!()
    }

    /// Forgets the request if its outcome still has this revision: it was never published.
    pub async fn forget(&self, _id: ExchangeId, _revision: u64) -> Result<(), OutcomeError> {
        todo!()
    }

    /// The bucket's name, which references must have.
    pub fn bucket(&self) -> &str {
        todo!()
    }
}
