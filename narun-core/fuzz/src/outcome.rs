//! Any value of the bucket of outcomes decodes or is refused, and a decoded record stays the same when it is encoded.

use bytes::Bytes;
use narun_nats::jetstream::{decode_outcome, encode_outcome};

/// The input is the value.
pub fn check(input: &[u8]) {
    let value = Bytes::copy_from_slice(input);
    let Ok(outcome) = decode_outcome(&value) else { return };
    let encoded = encode_outcome(&outcome);
    assert_eq!(decode_outcome(&encoded).as_ref(), Ok(&outcome));
}
