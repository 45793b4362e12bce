//! An app, how its requests are delivered, and how its consumer works.

use std::time::Duration;

use narun_gateway::{Storage, StreamSettings};
use serde::{Deserialize, Serialize};

/// An app behind a NATS server. Groups that must not share their requests have apps of different names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NatsApp {
    pub(crate) nats: String,
    pub(crate) app: String,
    pub(crate) delivery: DeliveryKind,
}

/// How an app's requests are delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DeliveryKind {
    #[default]
    Direct,
    /// Durable, with the stream on disk.
    File,
    /// Durable, with the stream in memory.
    Memory,
}

/// How a consumer works. By default it uses no extra CPU time, and has narun's default limits.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Work {
    /// Extra CPU time that the handler uses up per request.
    pub(crate) burn: Duration,
    pub(crate) concurrency: usize,
    pub(crate) queue: usize,
}

impl Default for Work {
    fn default() -> Self {
        Self { burn: Duration::ZERO, concurrency: 1024, queue: 32 }
    }
}

impl DeliveryKind {
    /// The namespace, which differs by storage: a stream cannot change its storage.
    pub(super) fn namespace(self) -> &'static str {
        match self {
            Self::Direct => "TASK",
            Self::File => "FILE",
            Self::Memory => "MEMORY",
        }
    }

    pub(super) fn stream(self) -> StreamSettings {
        StreamSettings::new().storage(match self {
            Self::Direct | Self::File => Storage::File,
            Self::Memory => Storage::Memory,
        })
    }
}
