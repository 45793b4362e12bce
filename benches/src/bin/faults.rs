//! Kills consumers, gateways and servers under load, and checks that accepted durable requests are done.
//!
//! ```text
//! cargo run --release -p narun-benches --bin faults -- [OPTIONS]
//! … -- --quick                                            about a minute
//! … -- --full                                             as many kills as in the table
//! … -- --scenario consumers --requests 5000 --kills 200   one scenario
//! … -- --help                                             all options
//! ```
//!
//! Gateways, consumers and servers are processes of their own. The clients keep a ledger of the responses, the handlers
//! note every execution in a file; in the end both are compared.
//!
//! | scenario | what happens | full |
//! |---|---|---|
//! | `consumers` | consumers are killed and started again | 200 kills, 5,000 requests |
//! | `server`, `server-synced` | the server is killed and started again; it syncs every two minutes, or every message | 30, 3,000 |
//! | `leader` | one of three servers, the stream's leader, is killed and started again | 20, 2,000 |
//! | `gateway` | one of two gateways is killed and replaced | 20, 2,000 |
//! | `limits` | a full stream, handlers that always fail, messages that expire, keys that are used again | 500 requests |
//! | `storage` | JetStream's store is full of requests, without room for their outcomes | 1,000 |
//! | `stopped` | the only consumer stands still (SIGSTOP) for seven ack waits | 10 times, 500 requests |
//! | `blocked` | handlers block their threads for seven ack waits, one of four threads or the only one | 60 |
//! | `rollback` | the server's store is put back to an earlier copy, so that its sequence numbers are used again | 1,500 |
//! | `restart` | the server is killed and back at once, and the consumer of running direct requests seconds later | 20 kills, 320 requests |
//! | `lame-duck` | each of three servers in turn ends through lame duck mode | 6 times, 2,000 requests |
//!
//! A request is accepted if it got the handler's response, 202, or the 504 that says so. These are the guarantees: every
//! accepted request is done; every response is that of its own request; where the outcome is kept (`Prefer:
//! respond-async`, or an `Idempotency-Key`) the status resource has the same response; no request is accepted twice; no
//! refused request is done; no process runs a request twice that it runs already or has done. In `restart` every request gets
//! its response, and is run once. The exit code is 1 if a guarantee was broken. A request may be run more than once, which is
//! counted. A server that is killed forgets delivery counts; then a request that seems to be accepted twice is counted
//! too, and is no broken guarantee.
//!
//! The kills follow from the seed; which work they interrupt does not. The environment variable `NATS_SERVER` selects
//! another nats-server; on 2.9 outcomes cannot be kept, and checks that need them are left out.

use std::process::ExitCode;

fn main() -> ExitCode {
    narun_benches::role::taken().unwrap_or_else(narun_benches::faults::main)
}
