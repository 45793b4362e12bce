//! What becomes of durable requests, kept and told: answers that come later, and keys by which a request is accepted
//! once.

mod keys;
mod later;
mod recovery;
mod site;
mod status;
