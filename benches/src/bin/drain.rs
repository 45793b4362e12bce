//! Counts requests that are lost while consumers start and shut down.
//!
//! ```text
//! cargo run --release -p narun-benches --bin drain -- [OPTIONS]
//! … -- --delay-ms 2                                       as if over a network
//! … -- --help                                             all options
//! ```
//!
//! One gateway sends POSTs, which it never repeats unless they were refused, to two consumers. Repeatedly a new
//! consumer starts and the oldest one shuts down. A request without a response of the handler was lost on the wire;
//! requests are counted by status. The exit code is 1 if more than one in 10,000 was lost.

use std::process::ExitCode;

fn main() -> ExitCode {
    narun_benches::drain::main()
}
