//! The methods of the contract, one file or a few for each.

mod ack;
#[cfg(test)]
mod attack;
mod consume_messages;
mod consumers;
pub(crate) mod health;
mod kv;
pub(crate) mod objects;
mod publish;
mod publish_to_stream;
mod pull_messages;
mod request;
mod statistics;
mod streams;
mod subscribe;
