//! The protocol of narun: HTTP requests and responses as frames over NATS, without IO.

pub mod exchange;
pub mod fields;
pub mod frame;
pub mod names;
pub mod tenant;

#[cfg(feature = "nats")]
#[doc(hidden)]
pub mod link;

mod body;
mod failure;
mod id;
mod limits;
mod time;

pub use body::{Body, BodyError, BodyErrorKind};
pub use failure::{Failure, FailureContext, FailureKind, GrpcCode};
pub use id::{ExchangeId, ParseIdError};
pub use limits::Limits;
pub use names::{App, NameError, Namespace};
pub use time::Time;
