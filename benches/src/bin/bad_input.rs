//! Sends input that strangers may send, and no good client sends, to real processes, and compares the responses with
//! those that the RFCs and narun's specification demand.
//!
//! ```text
//! cargo build --release -p narun-examples --example gateway
//! cargo run --release -p narun-benches --bin bad_input -- [OPTIONS]
//! … -- --only host,frames                                 some groups
//! … -- --help                                             all options
//! ```
//!
//! The gateway is the example `gateway`, as a process with a configuration file; so is the consumer, whose handler responds
//! with what it received. HTTP goes as bytes over TCP, frames go over NATS.
//!
//! | group | input | expected by |
//! |---|---|---|
//! | `host` | `Host` fields, authorities, targets | RFC 9110, 7.2; RFC 9112, 3.2; RFC 9113, 8.3.1 |
//! | `fields` | fields named by `Connection`, forged addresses and ids, cookies in parts | RFC 9110, 7.6.1; RFC 7239; RFC 9113, 8.2.3 |
//! | `framing` | lengths, transfer codings, upgrades, control characters, interim responses | RFC 9112, 6 and 7; RFC 9110, 7.8 and 15.2 |
//! | `early` | a body that the client sends before it reads the response, or never ends | RFC 9112, 9.3; RFC 9113, 8.1 |
//! | `pauses` | bodies that stop, handlers that are late | RFC 9110, 15.5.9 and 15.6.5 |
//! | `keys` | guessed idempotency keys and status resources | narun-gateway's documentation |
//! | `uploads` | large bodies of durable requests, from clients that lie, pause or leave | narun-gateway's documentation |
//! | `frames` | frames that are over a limit, malformed, or of another version | the specification of the protocol |
//! | `tasks` | messages in the stream of durable requests, dead letters and outcomes that are none | the specification of the protocol |
//! | `http2` | malformed fields, resets and heads without an end, as bytes | RFC 9113, 8 |
//! | `edge` | a proxy that is trusted, connections over the limits of the server | RFC 7239; the documentation of `Config` |
//! | `layers` | fields that an authentication sets, requests that no route matches | narun-gateway's documentation |
//! | `config` | routes that can never match, variables, wrong credentials, permissions that are missing | the documentation of `Config` |
//!
//! One line per input is printed: a verdict, the input's name, what is expected, and the response. The exit code is 1 if a
//! verdict is BAD.

use std::process::ExitCode;

fn main() -> ExitCode {
    narun_benches::role::taken().unwrap_or_else(narun_benches::bad_input::main)
}
