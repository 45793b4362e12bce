//! How many requests are lost while consumers come and go in an orderly way.
//!
//! ```text
//! cargo run --release -p narun-benches --bin drain -- [OPTIONS]
//! … -- --delay-ms 2                                       as if over a network
//! … -- --help                                             all options
//! ```
//!
//! One gateway sends POSTs, which it never repeats unless they were refused, to two consumers. Again and again a new
//! consumer joins and the oldest one is shut down, until so many have left. A request that has no answer of its
//! handler was lost on the wire: each is counted by its status. The exit code is 1 if more than one in 10,000 was.

use std::process::ExitCode;

fn main() -> ExitCode {
    narun_benches::drain::main()
}
