//! A CPU-bound handler: does a second worker thread help, and what does overload do?
//!
//! ```text
//! cargo run --release -p narun-benches --bin cpu -- [OPTIONS]
//! … -- --seconds 5 --rounds 3 --json
//! … -- --help                                             all options
//! ```
//!
//! | case | consumer, whose handler uses 5 ms of CPU time | goal |
//! |---|---|---|
//! | `workers/1`, `workers/2` | accepts all requests | two workers do 1.6 times as much as one |
//! | `overload` | has 4 slots, and 4 places in the queue | some requests get 200, the others 503 |
//!
//! All cases get 64 requests at a time. The exit code is 1 if a request failed in another way, or
//! if overload did not produce both statuses.

use std::process::ExitCode;

fn main() -> ExitCode {
    narun_benches::role::taken().unwrap_or_else(narun_benches::cpu::main)
}
