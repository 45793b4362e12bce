//! Objects of a NATS object store (ADR-20): the names, chunks and digests that clients in all languages agree on.
//!
//! [`BodyStore`](super::BodyStore) and the object methods of narun-grpc write with [`ChunkWriter`] and check what they
//! read with [`ObjectCheck`]. How they read differs and stays with them: a body is read chunk by chunk from the leader of
//! its stream, a download of many chunks through an ordered consumer.

mod check;
mod info;
mod writer;

use data_encoding::BASE64URL;

pub use check::ObjectCheck;
pub use info::{ObjectInfo, ObjectOptions};
pub use writer::{ChunkSink, ChunkWriter, Written};

/// Bytes of a chunk, as other NATS clients write it.
pub const CHUNK: usize = 128 << 10;

/// The stream of a bucket.
pub fn stream_name(bucket: &str) -> String {
    format!("OBJ_{bucket}")
}

/// The subjects of a bucket's stream: those of chunks and those of descriptions.
pub fn stream_subjects(bucket: &str) -> Vec<String> {
    vec![format!("$O.{bucket}.C.>"), format!("$O.{bucket}.M.>")]
}

/// The subject of an object's chunks. The token is any unique one.
pub fn chunk_subject(bucket: &str, token: &str) -> String {
    format!("$O.{bucket}.C.{token}")
}

/// The subject of an object's description.
pub fn meta_subject(bucket: &str, object: &str) -> String {
    format!("$O.{bucket}.M.{}", name_token(object))
}

/// An object's name as a token of a subject.
pub fn name_token(object: &str) -> String {
    BASE64URL.encode(object.as_bytes())
}

/// A SHA-256 digest as an object's description has it.
pub fn digest_text(digest: &[u8; 32]) -> String {
    format!("SHA-256={}", BASE64URL.encode(digest))
}
