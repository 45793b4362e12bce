use async_nats::HeaderMap;
use async_nats::header::NATS_MARKER_REASON;

use crate::pb::KvOperation;

/// The header of a delete or purge marker (ADR-8).
pub(super) const OPERATION: &str = "KV-Operation";

/// The operation of a message in a bucket.
pub(super) fn operation(headers: &HeaderMap) -> KvOperation {
    match headers.get(OPERATION).map(|operation| operation.as_str()) {
        Some("DEL") => return KvOperation::OperationDelete,
        Some("PURGE") => return KvOperation::OperationPurge,
        _ => {}
    }
    // Servers write markers of their own for expired values, in buckets that are configured so.
    match headers.get(NATS_MARKER_REASON).map(|reason| reason.as_str()) {
        Some("Remove") => KvOperation::OperationDelete,
        Some(_) => KvOperation::OperationPurge,
        None => KvOperation::OperationPut,
    }
}
