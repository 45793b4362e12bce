#![doc = include_str!("../README.md")]

pub mod body;
pub mod drive;
pub mod inbox;
pub mod jetstream;

mod access;
mod client;
mod clock;
mod events;
mod link;
mod permissions;

pub use access::{AccessError, NatsAccess};
pub use async_nats;
pub use client::{ClientLost, InboxReader, NatsLink, open};
pub use clock::Timer;
pub use events::{RepeatedEvents, Summary};
pub use link::{Link, Outgoing, OutgoingMessage, PublishError};
pub use permissions::{Denied, NatsEvents, Permission};
