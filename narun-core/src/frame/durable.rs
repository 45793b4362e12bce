//! The parts of a REQUEST that only durable requests have.

use super::reader::Reader;
use super::writer::{STRING, Writer};
use super::{DecodeError, key};

/// Longest name of a bucket or an object, in bytes.
const LONGEST: usize = 256;

/// A reference to a body that is stored as an object, because it does not fit a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// Bucket of the object store, at most 256 bytes.
    pub bucket: String,
    /// Name of the object, at most 256 bytes.
    pub name: String,
    /// Size of the body, in bytes.
    pub size: u64,
    /// SHA-256 of the body.
    pub digest: [u8; 32],
}

/// A reference to the place where the outcome of a request is stored, under its id as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeRef {
    /// Key-value bucket, at most 256 bytes.
    pub bucket: String,
    /// Digest of method, target and body. A request with the same `Idempotency-Key` must have the same digest.
    pub digest: [u8; 32],
    /// Digest of the caller's name, if only that caller may see the outcome. Default `None`.
    pub scope: Option<[u8; 32]>,
}

impl ObjectRef {
    /// Returns an upper bound of its encoded length, in bytes.
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
    /// Returns an upper bound of its encoded length, in bytes.
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
