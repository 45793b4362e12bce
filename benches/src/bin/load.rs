//! narun beside what it is to be compared with: requests per second, latency, CPU and memory.
//!
//! ```text
//! cargo run --release -p narun-benches --bin load -- [OPTIONS]
//! … -- --connections 1,64 --body 200 --seconds 1          a quick look
//! … -- --case raw,narun,durable-file,async-file           durable delivery
//! … -- --case narun --routes 10,10000                     does the number of routes cost?
//! … -- --json > load.jsonl                                a line per cell, then per ratio
//! … -- --help                                             all options
//! ```
//!
//! | case | processes |
//! |---|---|
//! | `raw` | NATS client, nats-server, NATS responder: the ideal |
//! | `handler` | HTTP client, hyper server with the handler |
//! | `proxy` | HTTP client, hyper reverse proxy, hyper server with the handler |
//! | `narun` | HTTP client, gateway, nats-server, consumer with the handler |
//! | `durable_file`, `durable_memory` | the same, out of a stream on disk or in memory; not by default |
//! | `async_file`, `async_memory` | the same, answered with 202 and counted when it is done; not by default |
//!
//! The latter make new requests only while no more than 1,024 wait to be done.
//!
//! The cases take turns, a round each, and every figure is the median over the rounds. The last
//! table sets the ratios against their goals. The exit code is 1 if any request got anything but
//! a complete, correct answer.

use std::process::ExitCode;

fn main() -> ExitCode {
    narun_benches::role::taken().unwrap_or_else(narun_benches::load::main)
}
