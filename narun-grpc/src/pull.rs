//! What reads a consumer's messages.

pub(crate) mod ordered;
pub(crate) mod pulls;
