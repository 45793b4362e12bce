//! Many connections at once to a gateway with default limits: its memory, and whether each connection ends.
//!
//! ```text
//! cargo build --release -p narun-examples --example gateway
//! cargo run --release -p narun-benches --bin crowd -- [OPTIONS]
//! … -- --part uploads --connections 40                    a quick look at one part
//! … -- --quick                                            all parts at the same time, for about 40 seconds
//! … -- --help                                             all options
//! ```
//!
//! The gateway is the example `gateway` as a process, with default settings and a durable route. The clients are in this
//! process.
//!
//! | part | what the connections do | connections | goal |
//! |---|---|---|---|
//! | `uploads` | each sends a durable request's body of 10 MiB but its last byte; once all have, the last byte follows | 400 | the gateway's memory at most 96 MiB above idle, and each gets a response |
//! | `idle` | they send nothing | 10,000 | closed by the server |
//! | `drip` | half of them send a byte of a head each second, the others of a durable request's body | 1,000 | closed by the server, or a response |
//!
//! `--quick` makes 20, 200 and 50 connections, and gives heads 3 s.
//!
//! The exit code is 1 if a goal was missed. The process needs as many file descriptors as there are connections, and so does
//! the gateway: `ulimit -n 20000`.

use std::process::ExitCode;

fn main() -> ExitCode {
    narun_benches::role::taken().unwrap_or_else(narun_benches::crowd::main)
}
