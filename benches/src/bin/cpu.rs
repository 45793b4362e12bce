//! A handler that needs the CPU: does a second worker thread help, and what does overload do?
//!
//! ```text
//! cargo run --release -p narun-benches --bin cpu -- [OPTIONS]
//! … -- --seconds 5 --rounds 3 --json
//! … -- --help                                             all options
//! ```
//!
//! | case | consumer, whose handler burns 5 ms of CPU | goal |
//! |---|---|---|
//! | `workers/1`, `workers/2` | takes all there is | two workers do 1.6 times as much as one |
//! | `overload` | has 4 slots, and 4 places to wait | answers some 200, and others 503, nothing else |
//!
//! All are given 64 requests at a time. The exit code is 1 if a request failed in another way than
//! that, or if overload did not give both.

use std::process::ExitCode;

fn main() -> ExitCode {
    narun_benches::role::taken().unwrap_or_else(narun_benches::cpu::main)
}
