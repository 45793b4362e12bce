//! The setting of a cell, and the processes that each case consists of.

use narun_support::Server;
use serde::Serialize;

use super::case::{LoadCase, Variant};
use crate::Error;
use crate::group::Group;
use crate::process::Process;
use crate::role::{Job, NatsApp, Role, Work};

/// What distinguishes a cell from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) variant: Variant,
    pub(super) runtime: Runtime,
    pub(super) body: usize,
    pub(super) connections: usize,
}

/// The tokio runtime of the programs of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Runtime {
    CurrentThread,
    MultiThread,
}

impl Setting {
    /// Starts the processes; the one farthest from the client comes first.
    pub(super) fn start(self, nats: &Server) -> Result<Group, Error> {
        let Self { variant, runtime, body, connections } = self;
        let start = |name, role| Process::start(name, &Job { workers: runtime.workers(), role });
        let http_client = |server: &Process, later| {
            let role = Role::HttpClient { to: server.address().parse()?, connections, body, later };
            // The client is the same in all cases, so that it costs the same.
            Process::start("client", &Job { workers: None, role })
        };
        // The groups of other cases run at the same time, and must not take these requests.
        let app = format!("load-{}-{}-{}", variant.case.name(), runtime.name(), variant.routes);
        let at = NatsApp { nats: nats.url().to_owned(), app, delivery: variant.case.delivery() };
        Ok(match variant.case {
            LoadCase::Raw => {
                let responder = start("responder", Role::Responder { at: at.clone() })?;
                let client = start("client", Role::RawClient { at, connections, body })?;
                Group::new(client, vec![responder], nats.pid())
            }
            LoadCase::Handler => {
                let backend = start("backend", Role::Backend)?;
                let client = http_client(&backend, None)?;
                Group::new(client, vec![backend], None)
            }
            LoadCase::Proxy => {
                let backend = start("backend", Role::Backend)?;
                let proxy = start("proxy", Role::Proxy { to: backend.address().parse()? })?;
                let client = http_client(&proxy, None)?;
                Group::new(client, vec![proxy, backend], None)
            }
            LoadCase::Narun
            | LoadCase::DurableFile
            | LoadCase::DurableMemory
            | LoadCase::AsyncFile
            | LoadCase::AsyncMemory => {
                let later =
                    matches!(variant.case, LoadCase::AsyncFile | LoadCase::AsyncMemory).then(|| at.clone());
                let consumer = start("consumer", Role::Consumer { at: at.clone(), work: Work::default() })?;
                let gateway = start("gateway", Role::Gateway { at, routes: variant.routes })?;
                let client = http_client(&gateway, later)?;
                Group::new(client, vec![gateway, consumer], nats.pid())
            }
        })
    }
}

impl Runtime {
    pub(super) const ALL: [Self; 2] = [Self::CurrentThread, Self::MultiThread];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CurrentThread => "current_thread",
            Self::MultiThread => "multi_thread",
        }
    }

    /// The number of worker threads, as [`Job`](crate::role::Job) takes it.
    pub(super) fn workers(self) -> Option<usize> {
        match self {
            Self::CurrentThread => None,
            Self::MultiThread => Some(2),
        }
    }
}
