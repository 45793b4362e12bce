//! Bodies that are streamed, beside what they are to be compared with: MiB per second, memory, and what others feel of it.
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
//! | `bulk` | `credit` | NATS receiver, nats-server, NATS sender: the ideal, messages and credit for them |
//! | `bulk` | `down`, `up` | HTTP client, gateway, nats-server, consumer: bodies without an end |
//! | `bulk` | `down_1m`, `up_1m` | the same: bodies of 1 MiB, one after the other |
//! | `small` | `small` | the same: requests of 200 bytes |
//! | `small` | `beside` | the same, while another HTTP client reads long bodies at a pace |
//! | `readers` | `readers` | the same: many clients that read slowly, over small buffers |
//! | `grpc` | `direct_…` | tonic client, hyper server with a tonic service |
//! | `grpc` | `narun_…` | tonic client, gateway, nats-server, consumer with the service |
//!
//! The cases of a part take turns, a round each, and every figure is the median over the rounds, memory the most. What
//! is counted is MiB of bodies; in `small` and `grpc` it is requests, or messages of a stream; in `readers`, parts of a
//! second each.
//!
//! The last table sets the figures against their goals: over one exchange with a window of 1 MiB at least 0.6 of what
//! `credit` reaches; gateway and consumer each at most that window and 16 MiB over what they held when they had done
//! nothing yet; small requests' 99th percentile at most 8 times as long beside large bodies, better 3; for slow readers
//! at most 192 KiB each and 64 MiB, and none that waits 10 s for a part. The exit code is 1 if anything failed that was
//! to be transferred.

use std::process::ExitCode;

fn main() -> ExitCode {
    narun_benches::role::taken().unwrap_or_else(narun_benches::streams::main)
}
