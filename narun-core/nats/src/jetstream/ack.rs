//! The acknowledgement of a published message (PubAck).

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::response::Response;

use super::api::says_full;
use narun_core::exchange::PubAck;
use narun_core::{Failure, FailureKind};

/// The most bytes that a PubAck can have. Real ones have some dozens.
const LONGEST: usize = 4096;

/// A cluster is still storing another message with the same id: neither stored nor refused yet.
const DUPLICATE_IN_PROCESS: ErrorCode = ErrorCode(10158);

/// Reads a PubAck. Returns `None` if the payload is no PubAck, or leaves open whether the message is stored.
pub(crate) fn read(payload: &[u8]) -> Option<Result<PubAck, Failure>> {
    if payload.len() > LONGEST {
        return None;
    }
    match serde_json::from_slice::<Response<PublishAck>>(payload).ok()? {
        Response::Ok(ack) => Some(Ok(PubAck { duplicate: ack.duplicate })),
        Response::Err { error } if error.error_code() == DUPLICATE_IN_PROCESS => None,
        Response::Err { error } => {
            let text = error.to_string();
            Some(Err(Failure::new(kind(error.error_code(), &text)).with_cause(text)))
        }
    }
}

/// What the server's error means for the HTTP request.
fn kind(code: ErrorCode, text: &str) -> FailureKind {
    match code {
        code if says_full(code, text) => FailureKind::StreamFull,
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM => {
            FailureKind::ContentTooLarge
        }
        ErrorCode::STREAM_NOT_MATCH => FailureKind::StreamMissing,
        ErrorCode::CLUSTER_NOT_AVAILABLE | ErrorCode::CLUSTER_NOT_LEADER => FailureKind::NoLeader,
        _ => FailureKind::JetStreamUnavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: u64, description: &str) -> String {
        format!(
            r#"{{"error":{{"code":503,"err_code":{code},"description":"{description}"}},"stream":"TASK","seq":0}}"#
        )
    }

    #[test]
    fn pub_acks_are_read() {
        assert_eq!(read(br#"{"stream":"TASK","seq":7}"#), Some(Ok(PubAck { duplicate: false })));
        assert_eq!(
            read(br#"{"stream":"TASK","domain":"hub","seq":7,"duplicate":true,"new":[{}]}"#),
            Some(Ok(PubAck { duplicate: true }))
        );
    }

    #[test]
    fn errors_have_kinds() {
        type K = FailureKind;
        for (code, description, expected) in [
            (10077, "maximum messages exceeded", K::StreamFull),
            (10077, "maximum bytes exceeded", K::StreamFull),
            (10077, "no space left on device", K::JetStreamUnavailable),
            (10002, "resource limits exceeded for account", K::StreamFull),
            (10023, "insufficient resources", K::StreamFull),
            (10028, "insufficient memory", K::StreamFull),
            (10047, "insufficient storage", K::StreamFull),
            (10054, "message size exceeds maximum allowed", K::ContentTooLarge),
            (10097, "header size exceeds maximum allowed of 64k", K::ContentTooLarge),
            (10060, "expected stream does not match", K::StreamMissing),
            (10076, "jetstream not enabled", K::JetStreamUnavailable),
            (10039, "jetstream not enabled for account", K::JetStreamUnavailable),
            (10008, "jetstream system temporarily unavailable", K::NoLeader),
            (99999, "new", K::JetStreamUnavailable),
        ] {
            let failure = read(error(code, description).as_bytes()).expect("read").expect_err("an error");
            assert_eq!(failure.kind(), expected, "{code}");
            assert!(failure.cause().is_some_and(|cause| cause.contains(description)), "{failure:?}");
        }
        assert_eq!(read(error(10158, "duplicate message id is in process").as_bytes()), None);
    }

    #[test]
    fn other_payloads_are_no_pub_acks() {
        let long = format!(r#"{{"stream":"{}","seq":7}}"#, "x".repeat(LONGEST));
        let deep = "[".repeat(LONGEST);
        for junk in ["", "{}", "null", "[]", r#"{"stream":"TASK"}"#, r#"{"error":{}}"#, &long, &deep] {
            assert_eq!(read(junk.as_bytes()), None, "{junk:.40}");
        }
    }
}
