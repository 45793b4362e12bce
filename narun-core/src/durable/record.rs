//! An outcome as the value of a key.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version: 1 |
//! | 1 | state: 0 pending, 1 pending and published, 2 done |
//! | 32 | SHA-256 of method, target and body |
//! | 1 | whether a scope follows: 0 or 1 |
//! | 0 or 32 | the scope |
//! | the rest | the RESPONSE frame if it is done, otherwise nothing |

use bytes::{BufMut, Bytes, BytesMut};

use super::{Outcome, State};

const VERSION: u8 = 1;
const PENDING: u8 = 0;
const PUBLISHED: u8 = 1;
const DONE: u8 = 2;

/// Bytes of all but the response, at most.
const HEAD: usize = 1 + 1 + 32 + 1 + 32;

pub(super) fn encode(outcome: &Outcome) -> Bytes {
    let (state, response) = match &outcome.state {
        State::Pending { published: false } => (PENDING, &[][..]),
        State::Pending { published: true } => (PUBLISHED, &[][..]),
        State::Done { response } => (DONE, &response[..]),
    };
    let mut value = BytesMut::with_capacity(HEAD + response.len());
    value.put_slice(&[VERSION, state]);
    value.put_slice(&outcome.digest);
    value.put_u8(outcome.scope.is_some().into());
    value.put_slice(outcome.scope.as_ref().map_or(&[], |scope| &scope[..]));
    value.put_slice(response);
    value.freeze()
}

/// The response is a slice of the value.
pub(super) fn decode(value: &Bytes) -> Result<Outcome, &'static str> {
    const SHORT: &str = "it ends too early";
    let (&[version, state], rest) = value.split_first_chunk().ok_or(SHORT)?;
    if version != VERSION {
        return Err("it has another version");
    }
    let (digest, rest) = rest.split_first_chunk::<32>().ok_or(SHORT)?;
    let (scope, rest) = match rest.split_first().ok_or(SHORT)? {
        (0, rest) => (None, rest),
        (1, rest) => rest.split_first_chunk::<32>().map(|(scope, rest)| (Some(*scope), rest)).ok_or(SHORT)?,
        _ => return Err("a scope is there or not"),
    };
    let state = match state {
        PENDING | PUBLISHED if !rest.is_empty() => return Err("it is pending, with a response"),
        PENDING | PUBLISHED => State::Pending { published: state == PUBLISHED },
        DONE if rest.is_empty() => return Err("it is done, without a response"),
        DONE => State::Done { response: value.slice_ref(rest) },
        _ => return Err("it has a state that is not known"),
    };
    Ok(Outcome { digest: *digest, scope, state })
}
