//! Outcomes of durable requests: the status resource, `Prefer: respond-async` and `Idempotency-Key`.

mod callers;
mod keys;
mod recovery;
mod respond_async;
pub(crate) mod site;
mod status;
