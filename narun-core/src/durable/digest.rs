use http::Method;
use sha2::{Digest, Sha256};

use crate::{App, ExchangeId, Namespace};

/// SHA-256 of a request's method, target and body.
pub fn request_digest(method: &Method, target: &str, body: &[u8]) -> [u8; 32] {
    digest(&[b"narun request", method.as_str().as_bytes(), target.as_bytes(), body])
}

/// SHA-256 of a caller's name.
pub fn caller_scope(caller: &str) -> [u8; 32] {
    digest(&[b"narun caller", caller.as_bytes()])
}

/// The id of a request with an `Idempotency-Key`: the first 16 bytes of SHA-256 of stream, app, caller scope and key.
pub fn keyed_id(namespace: &Namespace, app: &App, scope: Option<&[u8; 32]>, key: &[u8]) -> ExchangeId {
    let scope = scope.map_or(&[][..], |scope| scope);
    let digest = digest(&[b"narun key", namespace.as_str().as_bytes(), app.as_str().as_bytes(), scope, key]);
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    ExchangeId::from_bytes(id)
}

/// SHA-256 of these parts, each of them after its length in 8 bytes, the highest first. So no two lists of parts have
/// the same bytes; and the first part says what is digested.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part);
    }
    sha.finalize().into()
}
