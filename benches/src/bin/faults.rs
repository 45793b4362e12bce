//! Kills what durable delivery is made of, and sees whether accepted requests are done all the same.
//!
//! ```text
//! cargo run --release -p narun-benches --bin faults -- [OPTIONS]
//! … -- --quick                                            less than a minute
//! … -- --full                                             as many kills as are said below
//! … -- --scenario consumers --requests 5000 --kills 200   one of them
//! … -- --help                                             all options
//! ```
//!
//! Gateways, consumers and servers are processes of their own. The clients keep a ledger of what they were told of
//! each request, the handlers write every execution into a file; in the end both are compared.
//!
//! | scenario | what happens | full |
//! |---|---|---|
//! | `consumers` | consumers are killed and started again | 200 kills, 5,000 requests |
//! | `server` | the server is killed and started again, once syncing every message and once by default | 30, 3,000 |
//! | `leader` | of three servers that with the stream's leader is killed and started again | 20, 2,000 |
//! | `gateway` | one of two gateways is killed and started again | 20, 2,000 |
//! | `limits` | a full stream, handlers that fail for ever, messages that expire, ids that are used again | - |
//!
//! A request is accepted if it was answered, if the answer is 202, or if it is the 504 that says so. What is to hold:
//! every accepted request is done; every answer is that to its own request; of what is kept (respond-async, or an
//! `Idempotency-Key`) the status resource gives the same answer afterwards; no request is accepted twice; nothing that
//! was refused is done. The exit code is 1 if any of that was broken. A request may be run more than once, which is
//! counted. A server that is killed forgets how often it has delivered a message, so that there a request that seems to
//! be accepted twice is counted as well, not judged.
//!
//! The kills follow from the seed; how the processes' work falls between them does not. Other servers than the newest
//! are tried with the environment variable `NATS_SERVER`; on 2.9 outcomes cannot be kept, and what needs them is left
//! out.

use std::process::ExitCode;

fn main() -> ExitCode {
    narun_benches::role::taken().unwrap_or_else(narun_benches::faults::main)
}
