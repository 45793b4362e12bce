//! Compares streamed bodies with a bare credit loop over NATS: MiB per second, memory, and the effect on other requests.
//!
//! ```text
//! cargo run --release -p narun-benches --bin streams -- [OPTIONS]
//! … -- --part bulk --at-once 1 --seconds 1                a quick look
//! … -- --part bulk --seconds 30 --rounds 1                memory after many GiB
//! … -- --part bulk --window 64,1024,8192                  windows side by side, in KiB
//! … -- --part readers --read-seconds 120                  readers slower than their windows
//! … -- --json > streams.jsonl                             a line per cell, then per ratio
//! … -- --help                                             all options
//! ```
//!
//! | part | case | processes |
//! |---|---|---|
//! | `bulk` | `credit` | NATS receiver, nats-server, NATS sender: the ideal, messages with credit |
//! | `bulk` | `down`, `up` | HTTP client, gateway, nats-server, consumer: bodies without an end |
//! | `bulk` | `down_1m`, `up_1m` | the same: bodies of 1 MiB, one after the other |
//! | `small` | `small` | the same: requests of 200 bytes |
//! | `small` | `beside` | the same, while another HTTP client reads long bodies at a pace |
//! | `readers` | `readers` | the same: many clients that read slowly, over small buffers |
//! | `grpc` | `direct_…` | tonic client, hyper server with a tonic service |
//! | `grpc` | `narun_…` | tonic client, gateway, nats-server, consumer with the service |
//!
//! The cases of a part take turns, one round each. Every figure is the median over the rounds; memory is the peak.
//! MiB of bodies are counted; in `small` and `grpc` requests, or messages of a gRPC stream; in `readers` parts of one
//! second each.
//!
//! The last table compares the figures with their goals:
//!
//! | figure | goal |
//! |---|---|
//! | MiB/s of one body with a window of 1 MiB | at least 0.6 of `credit` |
//! | memory of gateway and consumer, above that before the first round | at most the window and 16 MiB each |
//! | 99th percentile of small requests beside long bodies | at most 8 times that without |
//! | memory for slow readers | at most 192 KiB each, and 64 MiB |
//! | slow readers that wait 10 s for a part | none |
//!
//! The exit code is 1 if a transfer failed.

use std::process::ExitCode;

fn main() -> ExitCode {
    narun_benches::role::taken().unwrap_or_else(narun_benches::streams::main)
}
