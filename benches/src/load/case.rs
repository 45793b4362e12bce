//! What is compared, and the processes that each case consists of.

use std::fmt;

use clap::ValueEnum;
use narun_support::Server;
use serde::Serialize;

use super::cell::Setting;
use crate::Error;
use crate::group::Group;
use crate::process::Process;
use crate::role::{Job, NatsApp, Role, Work};

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
    pub(super) fn start(setting: &Setting, nats: &Server) -> Result<Group, Error> {
        let Setting { variant, runtime, body, connections } = *setting;
        let start = |name, role| Process::start(name, &Job { workers: runtime.workers(), role });
        let http_client = |server: &Process| {
            let role = Role::HttpClient { to: server.address().parse()?, connections, body };
            // The gauge: the same whatever it measures.
            Process::start("client", &Job { workers: None, role })
        };
        // Other groups are up as well, and are not to share the work.
        let app = format!("load-{}-{}", runtime.name(), variant.routes);
        let at = NatsApp { nats: nats.url().to_owned(), app };
        Ok(match variant.case {
            Self::Raw => {
                let responder = start("responder", Role::Responder { at: at.clone() })?;
                let client = start("client", Role::RawClient { at, connections, body })?;
                Group::new(client, vec![responder], nats.pid())
            }
            Self::Handler => {
                let backend = start("backend", Role::Backend)?;
                let client = http_client(&backend)?;
                Group::new(client, vec![backend], None)
            }
            Self::Proxy => {
                let backend = start("backend", Role::Backend)?;
                let proxy = start("proxy", Role::Proxy { to: backend.address().parse()? })?;
                let client = http_client(&proxy)?;
                Group::new(client, vec![proxy, backend], None)
            }
            Self::Narun => {
                let consumer = start("consumer", Role::Consumer { at: at.clone(), work: Work::default() })?;
                let gateway = start("gateway", Role::Gateway { at, routes: variant.routes })?;
                let client = http_client(&gateway)?;
                Group::new(client, vec![gateway, consumer], nats.pid())
            }
        })
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let case = match self.case {
            Case::Raw => "raw",
            Case::Handler => "handler",
            Case::Proxy => "proxy",
            Case::Narun => "narun",
        };
        match self.routes {
            0 | 1 => f.write_str(case),
            routes => write!(f, "{case}/{routes}"),
        }
    }
}
