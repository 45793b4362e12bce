//! What reads a consumer's messages.

mod delivered;
pub(crate) mod ordered;
pub(crate) mod pulls;
pub(crate) mod single;
