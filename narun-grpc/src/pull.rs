//! Reading the messages of a consumer by pulls.

mod delivered;
pub(crate) mod ordered;
pub(crate) mod places;
pub(crate) mod pulls;
pub(crate) mod single;
