//! Finds and fetches nats-server for development: narun's examples, tests and benches need none to
//! be installed by hand.
//!
//! Nothing is downloaded at build time. It needs a Unix.

mod binary;
mod error;
mod release;

pub use binary::Binary;
pub use error::Error;
pub use release::Release;
