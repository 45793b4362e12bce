//! An outcome, and its encoding as the value of a key.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version: 1 |
//! | 1 | state: 0 pending, 1 pending and published, 2 done, 3 done but the response not kept |
//! | 32 | SHA-256 of method, target and body |
//! | 1 | whether a scope follows: 0 or 1 |
//! | 0 or 32 | the scope |
//! | all others | the RESPONSE frame if the request is done; 2 bytes of status, big-endian, if the response was not kept |

use bytes::{BufMut, Bytes, BytesMut};

const VERSION: u8 = 1;
const PENDING: u8 = 0;
const PUBLISHED: u8 = 1;
const DONE: u8 = 2;
const NOT_KEPT: u8 = 3;

/// The most bytes of all but the response.
const HEAD: usize = 1 + 1 + 32 + 1 + 32;

/// The result of a durable request, with what identifies the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// SHA-256 of method, target and body.
    pub digest: [u8; 32],
    /// SHA-256 of the caller's name, if only that caller may read the outcome.
    pub scope: Option<[u8; 32]>,
    /// Whether it is done.
    pub state: OutcomeState,
}

/// Whether a request is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutcomeState {
    /// It is not done.
    Pending {
        /// Whether the stream is known to have stored it.
        published: bool,
    },
    /// It is done, with this response.
    Done {
        /// The RESPONSE frame.
        response: Bytes,
    },
    /// It is done, but there was no room for its response.
    NotKept {
        /// The status of the response.
        status: u16,
    },
}

/// Encodes a value.
pub fn encode(outcome: &Outcome) -> Bytes {
    let status;
    let (state, response) = match &outcome.state {
        OutcomeState::Pending { published: false } => (PENDING, &[][..]),
        OutcomeState::Pending { published: true } => (PUBLISHED, &[][..]),
        OutcomeState::Done { response } => (DONE, &response[..]),
        OutcomeState::NotKept { status: code } => {
            status = code.to_be_bytes();
            (NOT_KEPT, &status[..])
        }
    };
    let mut value = BytesMut::with_capacity(HEAD + response.len());
    value.put_slice(&[VERSION, state]);
    value.put_slice(&outcome.digest);
    value.put_u8(outcome.scope.is_some().into());
    value.put_slice(outcome.scope.as_ref().map_or(&[], |scope| &scope[..]));
    value.put_slice(response);
    value.freeze()
}

/// Decodes a value. The response is a slice of it.
///
/// # Errors
///
/// If it is not a record; the error says what is wrong.
pub fn decode(value: &Bytes) -> Result<Outcome, &'static str> {
    const SHORT: &str = "it is too short";
    let (&[version, state], rest) = value.split_first_chunk().ok_or(SHORT)?;
    if version != VERSION {
        return Err("unknown version");
    }
    let (digest, rest) = rest.split_first_chunk::<32>().ok_or(SHORT)?;
    let (scope, rest) = match rest.split_first().ok_or(SHORT)? {
        (0, rest) => (None, rest),
        (1, rest) => rest.split_first_chunk::<32>().map(|(scope, rest)| (Some(*scope), rest)).ok_or(SHORT)?,
        _ => return Err("invalid scope"),
    };
    let state = match state {
        PENDING | PUBLISHED if !rest.is_empty() => return Err("pending, but with a response"),
        PENDING | PUBLISHED => OutcomeState::Pending { published: state == PUBLISHED },
        DONE if rest.is_empty() => return Err("done, but without a response"),
        DONE => OutcomeState::Done { response: value.slice_ref(rest) },
        NOT_KEPT => OutcomeState::NotKept {
            status: u16::from_be_bytes(rest.try_into().map_err(|_| "not kept, but without a status")?),
        },
        _ => return Err("unknown state"),
    };
    Ok(Outcome { digest: *digest, scope, state })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes() -> [(Outcome, Vec<u8>); 5] {
        let digest = [0xd1; 32];
        let outcome = |scope, state| Outcome { digest, scope, state };
        let value = |state, rest: &[&[u8]]| [&[1, state], &digest[..], &rest.concat()].concat();
        let response = Bytes::from_static(b"response");
        [
            (outcome(None, OutcomeState::Pending { published: false }), value(0, &[&[0]])),
            (
                outcome(Some([0x5c; 32]), OutcomeState::Pending { published: true }),
                value(1, &[&[1], &[0x5c; 32]]),
            ),
            (outcome(None, OutcomeState::Done { response: response.clone() }), value(2, &[&[0], &response])),
            (
                outcome(Some([0x5c; 32]), OutcomeState::Done { response: response.clone() }),
                value(2, &[&[1], &[0x5c; 32], &response]),
            ),
            (outcome(None, OutcomeState::NotKept { status: 201 }), value(3, &[&[0], &[0, 201]])),
        ]
    }

    #[test]
    fn outcomes_have_this_layout() {
        for (outcome, value) in outcomes() {
            assert_eq!(encode(&outcome), value);
            assert_eq!(decode(&value.into()), Ok(outcome));
        }
    }

    #[test]
    fn other_values_are_refused() {
        for (outcome, value) in outcomes() {
            let done = matches!(outcome.state, OutcomeState::Done { .. });
            let head = value.len() - if done { b"response".len() } else { 0 };
            for length in 0..=head - usize::from(!done) {
                assert!(decode(&Bytes::copy_from_slice(&value[..length])).is_err(), "{length} bytes");
            }
            for (place, byte) in [(0, 0), (0, 2), (1, 4), (34, 2)] {
                let mut other = value.clone();
                other[place] = byte;
                assert!(decode(&other.into()).is_err(), "{byte} at {place}");
            }
            if !done {
                assert!(decode(&[&value[..], b"response"].concat().into()).is_err());
            }
        }
    }
}
