#![doc = include_str!("../README.md")]

#[doc(hidden)]
pub mod fuzzing;

mod admission;
mod consumer;
mod dead_letters;
mod declare;
mod dispatcher;
mod drain;
mod durable;
mod error;
mod extensions;
mod handler;
mod handling;
mod log;
mod metrics;
mod reader;
mod response;
mod run;
mod serve;
mod settings;
mod trace;

#[doc = include_str!("../DURABLE.md")]
pub mod durable_requests {}

#[doc = include_str!("../PERMISSIONS.md")]
pub mod permissions {}

pub use async_nats;
pub use dead_letters::{DeadLetter, DeadLetterError, DeadLetters};
pub use declare::declare;
pub use error::{BoxError, ServeError};
pub use extensions::{Delivery, Received};
pub use narun_core::{App, Body, BodyError, BodyErrorKind, ExchangeId, NameError};
pub use narun_nats::jetstream::{Storage, StreamSettings};
pub use narun_nats::{AccessError, Denied, NatsAccess, NatsClient, NatsEvents, Permission};
pub use serve::{Serve, serve};
