use async_nats::HeaderMap;
use async_nats::header::NATS_MARKER_REASON;

use crate::pb::KvOperation;

/// What a marker has in its headers, as all NATS clients write it.
pub(super) const OPERATION: &str = "KV-Operation";

/// What a message of a bucket does to its key.
pub(super) fn operation(headers: &HeaderMap) -> KvOperation {
    match headers.get(OPERATION).map(|operation| operation.as_str()) {
        Some("DEL") => return KvOperation::OperationDelete,
        Some("PURGE") => return KvOperation::OperationPurge,
        _ => {}
    }
    // Servers leave markers of their own for what has gone by age, in buckets that were made so.
    match headers.get(NATS_MARKER_REASON).map(|reason| reason.as_str()) {
        Some("Remove") => KvOperation::OperationDelete,
        Some(_) => KvOperation::OperationPurge,
        None => KvOperation::OperationPut,
    }
}
