//! Machines at work: what they want published goes out, what comes for them goes in, when their time comes they are told.

mod call;
mod durable;
mod shared;
mod stream;

pub use call::Call;
pub use durable::{Submit, Task};
pub use shared::{Incoming, Machine, Shared};
pub use stream::{Conversation, Head, IncomingResponse};
