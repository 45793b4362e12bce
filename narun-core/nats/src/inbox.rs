//! A process's inbox: its subscription, the tokens of its exchanges, and their mailboxes.

mod denials;
mod endpoint;
mod mailbox;
mod policy;
mod tokens;

pub use endpoint::{Endpoint, Notice};
pub use mailbox::{Mail, Mailbox};
pub use policy::ReplyPolicy;
pub use tokens::{Registration, Token};
