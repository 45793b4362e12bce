//! What is compared, and the processes each case consists of.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

use super::cell::Setting;
use crate::Error;
use crate::process::Process;
use crate::role::{Job, Role};

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

/// The processes of a case.
#[derive(Debug)]
pub(super) struct Processes {
    pub(super) client: Process,
    /// From the one nearest to the client to the farthest.
    pub(super) others: Vec<Process>,
    pub(super) uses_nats: bool,
}

impl Case {
    /// Starts the processes, the farthest first.
    pub(super) fn start(setting: &Setting, nats: &str) -> Result<Processes, Error> {
        let Setting { variant, runtime, body, connections } = *setting;
        let nats = nats.to_owned();
        let start = |name, role| Process::start(name, &Job { workers: runtime.workers(), role });
        let http_client = |server: &Process| {
            let role = Role::HttpClient { to: server.address().parse()?, connections, body };
            // The gauge: the same whatever it measures.
            Process::start("client", &Job { workers: None, role })
        };
        Ok(match variant.case {
            Self::Raw => {
                let responder = start("responder", Role::Responder { nats: nats.clone() })?;
                let client = start("client", Role::RawClient { nats, connections, body })?;
                Processes { client, others: vec![responder], uses_nats: true }
            }
            Self::Handler => {
                let backend = start("backend", Role::Backend)?;
                let client = http_client(&backend)?;
                Processes { client, others: vec![backend], uses_nats: false }
            }
            Self::Proxy => {
                let backend = start("backend", Role::Backend)?;
                let proxy = start("proxy", Role::Proxy { to: backend.address().parse()? })?;
                let client = http_client(&proxy)?;
                Processes { client, others: vec![proxy, backend], uses_nats: false }
            }
            Self::Narun => {
                let consumer = start("consumer", Role::Consumer { nats: nats.clone() })?;
                let gateway = start("gateway", Role::Gateway { nats, routes: variant.routes })?;
                let client = http_client(&gateway)?;
                Processes { client, others: vec![gateway, consumer], uses_nats: true }
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
