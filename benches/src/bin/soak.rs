//! Ten million exchanges that nobody answers: memory is to stay where it was.
//!
//! ```text
//! cargo run --release -p narun-benches --bin soak -- [OPTIONS]
//! … -- --exchanges 200000                                 a quick look
//! … -- --help                                             all options
//! ```
//!
//! This process drives a gateway's service, without HTTP, thousands of requests at a time, against
//! a subscriber that never answers. Half of the responses' futures run into the route's timeout;
//! the others are dropped, some at once, some while the request is under way. The memory is
//! printed at the start and after each tenth. The exit code is 1 if it grew by more than 8 MiB
//! after the first tenth, or if what timed out got anything but 504.

use std::process::ExitCode;

fn main() -> ExitCode {
    narun_benches::role::taken().unwrap_or_else(narun_benches::soak::main)
}
