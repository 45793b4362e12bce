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
mod nats_client;
mod nats_events;
mod permissions;
mod subscription;

pub use access::{AccessError, NatsAccess};
pub use async_nats;
pub use client::{InboxReader, NatsLink, open};
pub use clock::Timer;
pub use events::{RepeatedEvents, Summary};
pub use link::{Link, Outgoing, OutgoingMessage, PublishError};
pub use nats_client::{ClientLost, NatsClient};
pub use nats_events::{DenialWatch, NatsEvents};
pub use permissions::{Denied, Permission};
pub use subscription::Subscription;
