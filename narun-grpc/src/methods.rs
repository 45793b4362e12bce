//! The methods of the contract, and nothing else. What several methods use is in [`call`](crate::call) and
//! [`pull`](crate::pull).

mod ack;
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

#[cfg(test)]
mod tests;
