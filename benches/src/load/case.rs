//! What is compared, and the processes that each case consists of.

use std::fmt;

use clap::ValueEnum;
use narun_support::Server;
use serde::Serialize;

use super::cell::Setting;
use crate::Error;
use crate::group::Group;
use crate::process::Process;
use crate::role::{Delivery, Job, NatsApp, Role, Work};

/// A way for requests to reach the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Case {
    /// NATS request and reply, no HTTP
    Raw,
    /// The handler, hit directly
    Handler,
    /// A reverse proxy before the handler
    Proxy,
    /// A gateway, and a consumer with the handler
    Narun,
    /// The same out of a stream on disk
    DurableFile,
    /// The same out of a stream in memory
    DurableMemory,
    /// Out of a stream on disk, answered with 202 and done later
    AsyncFile,
    /// Out of a stream in memory, answered with 202 and done later
    AsyncMemory,
}

/// A case with what only it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variant {
    pub(super) case: Case,
    /// Routes of the gateway; 0 where there is none.
    pub(super) routes: usize,
}

impl Case {
    /// Starts the processes, the farthest from the client first.
    pub(super) fn start(self, setting: &Setting, nats: &Server) -> Result<Group, Error> {
        let Setting { variant, runtime, body, connections } = *setting;
        let start = |name, role| Process::start(name, &Job { workers: runtime.workers(), role });
        let http_client = |server: &Process, later| {
            let role = Role::HttpClient { to: server.address().parse()?, connections, body, later };
            // The gauge: the same whatever it measures.
            Process::start("client", &Job { workers: None, role })
        };
        // Other groups are up as well, and are not to share the work.
        let app = format!("load-{}-{}-{}", variant.case.name(), runtime.name(), variant.routes);
        let at = NatsApp { nats: nats.url().to_owned(), app, delivery: variant.case.delivery() };
        Ok(match self {
            Self::Raw => {
                let responder = start("responder", Role::Responder { at: at.clone() })?;
                let client = start("client", Role::RawClient { at, connections, body })?;
                Group::new(client, vec![responder], nats.pid())
            }
            Self::Handler => {
                let backend = start("backend", Role::Backend)?;
                let client = http_client(&backend, None)?;
                Group::new(client, vec![backend], None)
            }
            Self::Proxy => {
                let backend = start("backend", Role::Backend)?;
                let proxy = start("proxy", Role::Proxy { to: backend.address().parse()? })?;
                let client = http_client(&proxy, None)?;
                Group::new(client, vec![proxy, backend], None)
            }
            Self::Narun | Self::DurableFile | Self::DurableMemory | Self::AsyncFile | Self::AsyncMemory => {
                let later = matches!(self, Self::AsyncFile | Self::AsyncMemory).then(|| at.clone());
                let consumer = start("consumer", Role::Consumer { at: at.clone(), work: Work::default() })?;
                let gateway = start("gateway", Role::Gateway { at, routes: variant.routes })?;
                let client = http_client(&gateway, later)?;
                Group::new(client, vec![gateway, consumer], nats.pid())
            }
        })
    }

    /// Whether it takes a server with JetStream.
    pub(super) fn is_durable(self) -> bool {
        self.delivery() != Delivery::Direct
    }

    fn delivery(self) -> Delivery {
        match self {
            Self::Raw | Self::Handler | Self::Proxy | Self::Narun => Delivery::Direct,
            Self::DurableFile | Self::AsyncFile => Delivery::File,
            Self::DurableMemory | Self::AsyncMemory => Delivery::Memory,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Handler => "handler",
            Self::Proxy => "proxy",
            Self::Narun => "narun",
            Self::DurableFile => "durable_file",
            Self::DurableMemory => "durable_memory",
            Self::AsyncFile => "async_file",
            Self::AsyncMemory => "async_memory",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let case = self.case.name();
        match self.routes {
            0 | 1 => f.write_str(case),
            routes => write!(f, "{case}/{routes}"),
        }
    }
}
