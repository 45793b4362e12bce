//! The measured programs.

use std::num::NonZeroUsize;

use narun_support::Server;

use super::options::GrpcOptions;
use crate::Error;
use crate::process::Process;
use crate::role::{Job, Role};

/// Starts a NATS server with JetStream.
pub(super) fn nats() -> Result<Server, Error> {
    Ok(Server::builder().jetstream(true).start()?)
}

/// Starts NATS over gRPC, connected to this server.
pub(super) fn service(options: &GrpcOptions, nats: &Server) -> Result<Process, Error> {
    start(options, "service", Role::NatsGrpc { nats: nats.url().to_owned() })
}

pub(super) fn start(options: &GrpcOptions, name: &'static str, role: Role) -> Result<Process, Error> {
    Process::start(name, &Job { workers: options.workers.map(NonZeroUsize::get), role })
}
