use http::Method;

use crate::{App, ExchangeId, Namespace};

/// SHA-256 of a request's method, target and body.
pub fn request_digest(_method: &Method, _target: &str, _body: &[u8]) -> [u8; 32] {
    todo!()
}

/// SHA-256 of a caller's name.
pub fn caller_scope(_caller: &str) -> [u8; 32] {
    todo!()
}

/// The id of a request with an `Idempotency-Key`: the first 16 bytes of SHA-256 of stream, app, caller scope and key.
pub fn keyed_id(_namespace: &Namespace, _app: &App, _scope: Option<&[u8; 32]>, _key: &[u8]) -> ExchangeId {
    todo!()
}
