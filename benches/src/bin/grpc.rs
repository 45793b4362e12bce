//! NATS over gRPC beside the same work done straight through async-nats: rates, CPU and memory.
//!
//! ```text
//! cargo run --release -p narun-benches --bin grpc -- [OPTIONS]
//! … -- --seconds 1 --rounds 3 --object-mib 64 --churn 20000     a quick look
//! … -- --operation publish,kv-get --object-mib 0 --idle 0 --churn 0  only these
//! … -- --churn 1000000                                          the whole million
//! … -- --help                                                   all options
//! ```
//!
//! | part | goal |
//! |---|---|
//! | `publish`, `pull_and_ack`, `kv_put`, `kv_get` | .8 of 1 / (1/E + 1/D), of E calls of a tonic echo and D operations through async-nats per second |
//! | `publish_batch`, `fan_out` | .5 and .4 of the messages per second of async-nats |
//! | an object of 1 GiB, up and down | .7 of the rate of async-nats, in 32 MiB of the service's memory |
//! | 10,000 idle subscriptions | 12 KiB of the service's memory each |
//! | subscriptions that are opened and closed | no memory, and no subscription, is left |
//!
//! The service is a process of its own, as is each client. The parts that are compared take turns, and every figure is
//! the median over the rounds. The exit code is 1 if anything got another answer than it should, or if subscriptions
//! were left.

use std::process::ExitCode;

fn main() -> ExitCode {
    narun_benches::role::taken().unwrap_or_else(narun_benches::grpc::main)
}
