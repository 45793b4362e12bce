//! The methods of the contract, one file or a few for each.

mod ack;
#[cfg(test)]
mod attack;
mod consume;
pub(crate) mod consumers;
pub(crate) mod health;
mod kv;
pub(crate) mod messages;
pub(crate) mod objects;
mod publish;
mod statistics;
pub(crate) mod streams;
mod subscribe;
