//! Running the state machines of [`narun_core::exchange`] over NATS.
//!
//! There is one loop, [`Drive::poll`]. It publishes a machine's output, hands it the messages and timeouts that are due, and
//! lets the [`Application`] at this end of the exchange proceed. Its fronts are thin:
//!
//! | front | machine | application |
//! |---|---|---|
//! | [`Call`] | `Caller`, its own | none: the request is complete, and the response's head is the result |
//! | [`StreamedExchange`] | `Caller`, shared with the response's reader | the rest of the request's body |
//! | [`DurableCall`] | `Submission`, its own | none: acceptance, then the response, is the result |
//! | [`Serving`] | `Callee`, shared with the request's reader if that body is streamed | the handler |

mod call;
mod durable;
mod machine;
mod outlet;
mod run;
mod serve;
mod shared;
mod streamed;

pub use call::Call;
pub use durable::{DurableCall, DurableRequest};
pub use machine::{Hold, Machine, Owned};
pub use outlet::{CalleeOutlet, CallerOutlet, Outlet, SubmissionOutlet};
pub use run::{Application, Drive};
pub use serve::{HeldCallee, IncomingRequest, Serving};
pub use shared::{IncomingBody, ReadBody, SharedMachine};
pub use streamed::{IncomingResponse, ResponseStart, StreamedExchange};

#[cfg(test)]
mod tests;
