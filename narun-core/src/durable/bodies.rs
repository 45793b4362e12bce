use async_nats::jetstream;
use bytes::Bytes;

use crate::ExchangeId;
use crate::frame::ObjectRef;

/// Bodies that do not fit a message, as objects of a NATS object store.
#[derive(Clone, Debug)]
pub struct Bodies {
    #[expect(dead_code)]
    context: jetstream::Context,
}

/// Why a body was not stored, read or deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodiesError {
    /// There is no such object.
    #[error("the body is not there any more")]
    Missing,
    /// It is not what the reference says: size or digest differ.
    #[error("the body is not the one that was stored")]
    Corrupt,
    /// The bucket is full.
    #[error("the bucket of bodies is full")]
    Full,
    /// No answer, no connection, no leader: worth trying again.
    #[error("the bucket of bodies cannot be reached: {0}")]
    Unavailable(String),
}

impl Bodies {
    /// Stores a body of the request `id`, under a name that nobody else uses. What was stored of it is deleted again
    /// if that fails.
    pub async fn put(&self, _id: ExchangeId, _body: Bytes) -> Result<ObjectRef, BodiesError> {
        todo!()
    }

    /// Reads a body whole, and checks it.
    pub async fn get(&self, _object: &ObjectRef) -> Result<Bytes, BodiesError> {
        todo!()
    }

    /// Deletes a body, with all its traces. It is no error if it is not there.
    pub async fn delete(&self, _object: &ObjectRef) -> Result<(), BodiesError> {
        todo!()
    }

    /// The bucket's name, which references must have.
    pub fn bucket(&self) -> &str {
        todo!()
    }
}
