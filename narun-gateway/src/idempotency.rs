//! Requests that are accepted once, however often they come, and what is kept of them.

mod caller;
mod key;
mod record;

pub use caller::{CallerHook, DefaultCallerHook};
pub(crate) use key::key_of;
pub(crate) use record::{Claim, Record, failure};
