//! Requests that are accepted once, and the records of their outcomes.

mod caller;
mod key;
mod record;

pub use caller::{CallerHook, DefaultCallerHook, FieldCallerHook};
pub(crate) use key::key_of;
pub(crate) use record::{Claim, IdempotencyRecord, failure, not_kept};
