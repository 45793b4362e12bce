//! What a durable REQUEST says beyond a direct one.

use super::reader::Reader;
use super::writer::{STRING, Writer};
use super::{DecodeError, key};

/// The longest name of a bucket or an object, in bytes.
const LONGEST: usize = 256;

/// A body that is held as an object, since it does not fit a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// The object store's bucket.
    pub bucket: String,
    /// The object's name.
    pub name: String,
    /// Bytes of the body.
    pub size: u64,
    /// SHA-256 of the body.
    pub digest: [u8; 32],
}

/// Where the outcome of a request is kept, under its id as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeRef {
    /// The key-value bucket.
    pub bucket: String,
    /// SHA-256 of method, target and body, of which a request with the same `Idempotency-Key` must not have another.
    pub digest: [u8; 32],
    /// SHA-256 of the caller's name, if outcomes are told to their callers only.
    pub scope: Option<[u8; 32]>,
}

impl ObjectRef {
    /// Bytes that it takes in a head at most.
    pub(super) fn len(&self) -> usize {
        4 * STRING + self.bucket.len() + self.name.len() + 9 + self.digest.len()
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.begin_array(key::request::OBJECT, 4);
        writer.text_item(&self.bucket);
        writer.text_item(&self.name);
        writer.uint_item(self.size);
        writer.bytes_item(&self.digest);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.array()? != 4 {
            return Err(DecodeError::Malformed("an object's reference has four elements"));
        }
        Ok(Self { bucket: name(reader)?, name: name(reader)?, size: reader.uint()?, digest: digest(reader)? })
    }
}

impl OutcomeRef {
    /// Bytes that it takes in a head at most.
    pub(super) fn len(&self) -> usize {
        4 * STRING + self.bucket.len() + self.digest.len() + self.scope.map_or(0, |scope| scope.len())
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.begin_array(key::request::OUTCOME, if self.scope.is_some() { 3 } else { 2 });
        writer.text_item(&self.bucket);
        writer.bytes_item(&self.digest);
        if let Some(scope) = &self.scope {
            writer.bytes_item(scope);
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let elements = reader.array()?;
        let (bucket, digest_of_request) = match elements {
            2 | 3 => (name(reader)?, digest(reader)?),
            _ => return Err(DecodeError::Malformed("an outcome's reference has two or three elements")),
        };
        let scope = if elements == 3 { Some(digest(reader)?) } else { None };
        Ok(Self { bucket, digest: digest_of_request, scope })
    }
}

fn name(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    match reader.text()? {
        name if name.len() <= LONGEST => Ok(name.to_owned()),
        _ => Err(DecodeError::TooLarge { what: "name of a bucket or an object", limit: LONGEST }),
    }
}

fn digest(reader: &mut Reader<'_>) -> Result<[u8; 32], DecodeError> {
    reader.bytes()?.try_into().map_err(|_| DecodeError::Malformed("a digest is 32 bytes"))
}
