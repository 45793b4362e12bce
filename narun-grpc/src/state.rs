//! What all calls share.

pub(crate) mod ack_tokens;
mod recent;
pub(crate) mod tally;

pub(crate) use self::ack_tokens::AckTokens;
pub(crate) use self::recent::Recent;
