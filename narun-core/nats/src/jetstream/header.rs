//! NATS headers, narun's own where nothing else is said. No HTTP field ever becomes one.

/// NATS's own, on a durable request: its id as text, by which the server knows duplicates.
pub const MESSAGE_ID: &str = "Nats-Msg-Id";
/// NATS's own, on a durable request: the stream, which refuses it if it has another name.
pub const EXPECTED_STREAM: &str = "Nats-Expected-Stream";
/// On a durable request: the gateway's inbox subject for the answer.
pub const INBOX: &str = "Narun-Inbox";
/// On a durable request: after how many milliseconds, counted from the server's timestamp, it is not run any more.
pub const EXPIRY: &str = "Narun-Expiry";
/// On a dead letter: why it was given up, a text for people in visible ASCII.
pub const REASON: &str = "Narun-Reason";
/// On a dead letter: how often it was delivered.
pub const DELIVERIES: &str = "Narun-Deliveries";
/// On a dead letter: when the request was stored first, milliseconds since 1970 (UTC).
pub const ACCEPTED: &str = "Narun-Accepted";
