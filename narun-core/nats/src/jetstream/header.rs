//! The NATS headers of durable requests and dead letters. An HTTP field never becomes one.

/// On a durable request, defined by NATS: its id as text, by which the server recognises duplicates.
pub const MESSAGE_ID: &str = "Nats-Msg-Id";
/// On a durable request, defined by NATS: the name of the stream. A stream of another name refuses the message.
pub const EXPECTED_STREAM: &str = "Nats-Expected-Stream";
/// On a durable request: the gateway's inbox subject for the response.
pub const INBOX: &str = "Narun-Inbox";
/// On a durable request: its expiry in milliseconds, counted from the server's timestamp. It is not run later.
pub const EXPIRY: &str = "Narun-Expiry";
/// On a dead letter: why it was given up, as text in visible ASCII.
pub const REASON: &str = "Narun-Reason";
/// On a dead letter: how often it was delivered.
pub const DELIVERIES: &str = "Narun-Deliveries";
/// On a dead letter: when the request was first stored, in milliseconds since 1970 (UTC).
pub const ACCEPTED: &str = "Narun-Accepted";
