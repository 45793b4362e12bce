//! The properties that hold for any input, one module for each fuzz target.
//!
//! `fuzz_targets/` calls them from libFuzzer, `tests/cases.rs` with a fixed number of made-up inputs.

pub mod ack_token;
pub mod config;
pub mod dead_letter;
pub mod exchange;
pub mod forwarded;
pub mod frame;
pub mod host;
pub mod outcome;
pub mod request;
pub mod response;

/// A check of one input. It panics if the property does not hold.
pub type Check = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: [(&str, Check); 10] = [
    ("ack_token", ack_token::check),
    ("config", config::check),
    ("dead_letter", dead_letter::check),
    ("exchange", exchange::check),
    ("forwarded", forwarded::check),
    ("frame", frame::check),
    ("host", host::check),
    ("outcome", outcome::check),
    ("request", request::check),
    ("response", response::check),
];

/// Takes a number from the beginning of an input, whose bytes are missing at its end.
pub(crate) fn take<const N: usize>(input: &mut &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    let length = input.len().min(N);
    bytes[..length].copy_from_slice(&input[..length]);
    *input = &input[length..];
    bytes
}
