//! Ten million exchanges without a response: the memory must not grow.
//!
//! ```text
//! cargo run --release -p narun-benches --bin soak -- [OPTIONS]
//! … -- --exchanges 200000                                 a quick look
//! … -- --help                                             all options
//! ```
//!
//! This process drives a gateway's service, without HTTP, thousands of requests at a time, against
//! a subscriber that never replies. Half of the response futures reach the route's timeout; the
//! others are dropped, some at once, some while the request is in flight. The memory is printed
//! at the start and after each tenth. The exit code is 1 if it grew by more than 8 MiB after the
//! first tenth, or if a request that timed out got another status than 504.

use std::process::ExitCode;

fn main() -> ExitCode {
    narun_benches::role::taken().unwrap_or_else(narun_benches::soak::main)
}
