//! narun-consumer

mod admission;
mod answer;
mod dispatch;
mod drain;
mod error;
mod extensions;
mod handler;
mod metrics;
mod run;
mod serve;
mod trace;

pub use error::{BoxError, ServeError};
pub use extensions::{Delivery, Received};
pub use narun_core::{App, Body, BodyError, ExchangeId, NameError};
pub use serve::{Serve, serve};
