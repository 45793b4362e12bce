//! Compares NATS over gRPC with the same operations directly through async-nats: rates, CPU and memory.
//!
//! ```text
//! cargo run --release -p narun-benches --bin grpc -- [OPTIONS]
//! … -- --seconds 1 --rounds 3 --object-mib 64 --churn 20000          a quick look
//! … -- --operation publish,kv-get --object-mib 0 --idle 0 --churn 0  only two operations
//! … -- --churn 1000000                                               a million subscriptions
//! … -- --help                                                        all options
//! ```
//!
//! | part | goal |
//! |---|---|
//! | `publish`, `pull_and_ack`, `kv_put`, `kv_get` | .8 of 1 / (1/E + 1/D), with E calls per second of a tonic echo, and D operations per second through async-nats |
//! | `publish_batch`, `fan_out` | .5 and .4 of the messages per second of async-nats |
//! | an object of 1 GiB, up and down | .7 of the rate of async-nats, with 32 MiB of the service's memory |
//! | 10,000 idle subscriptions | 12 KiB of the service's memory each |
//! | subscriptions that are opened and closed | no memory and no subscription is left |
//!
//! The service and each client are processes of their own. The compared cases take turns, and every figure is the
//! median over the rounds. The exit code is 1 if an operation failed, or if subscriptions were left.

use std::process::ExitCode;

fn main() -> ExitCode {
    narun_benches::role::taken().unwrap_or_else(narun_benches::grpc::main)
}
