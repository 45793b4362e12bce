//! The compared cases.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

use crate::role::DeliveryKind;

/// A way for requests to reach the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LoadCase {
    /// NATS request and reply, no HTTP
    Raw,
    /// The handler, hit directly
    Handler,
    /// A reverse proxy before the handler
    Proxy,
    /// A gateway, and a consumer with the handler
    Narun,
    /// The same, with durable requests in a stream on disk
    #[value(alias = "durable_file")]
    DurableFile,
    /// The same, with durable requests in a stream in memory
    #[value(alias = "durable_memory")]
    DurableMemory,
    /// Durable requests in a stream on disk, answered with 202 and done later
    #[value(alias = "async_file")]
    AsyncFile,
    /// Durable requests in a stream in memory, answered with 202 and done later
    #[value(alias = "async_memory")]
    AsyncMemory,
}

/// A case, and the number of routes if it has a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variant {
    pub(super) case: LoadCase,
    /// Routes of the gateway; 0 if there is no gateway.
    pub(super) routes: usize,
}

impl LoadCase {
    /// Whether the case needs a server with JetStream.
    pub(super) fn is_durable(self) -> bool {
        self.delivery() != DeliveryKind::Direct
    }

    pub(super) fn delivery(self) -> DeliveryKind {
        match self {
            Self::Raw | Self::Handler | Self::Proxy | Self::Narun => DeliveryKind::Direct,
            Self::DurableFile | Self::AsyncFile => DeliveryKind::File,
            Self::DurableMemory | Self::AsyncMemory => DeliveryKind::Memory,
        }
    }

    pub(super) fn name(self) -> &'static str {
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

impl fmt::Display for LoadCase {
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
