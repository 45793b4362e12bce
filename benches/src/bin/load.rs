//! Compares narun with raw NATS, its handler alone and a reverse proxy: requests per second, latency, CPU and memory.
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
//! | `durable_file`, `durable_memory` | the same, with durable requests in a stream on disk or in memory |
//! | `async_file`, `async_memory` | the same, but requests get 202 at once, and count when they are done |
//!
//! Clients of the last two pause while 1,024 requests or more wait to be done.
//!
//! The cases take turns, one round each, and every figure is the median over the rounds. The last
//! table compares the ratios with their goals. The exit code is 1 if a request did not get a
//! complete and correct response.

use std::process::ExitCode;

fn main() -> ExitCode {
    narun_benches::role::taken().unwrap_or_else(narun_benches::load::main)
}
