#![doc = include_str!("../README.md")]

pub mod exchange;
pub mod fields;
pub mod frame;
pub mod names;

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
