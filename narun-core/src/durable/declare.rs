use std::time::Duration;

use async_nats::{Client, jetstream};

use super::{Bodies, Outcomes};
use crate::{App, Namespace, StreamSettings};

/// What a namespace keeps in JetStream. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tasks {
    context: jetstream::Context,
    namespace: Namespace,
    settings: StreamSettings,
}

/// Why something is not there as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeclareError {
    /// It exists otherwise, which breaks a guarantee: for people to mend.
    #[error("{what} has {difference}")]
    Mismatch {
        /// Such as "stream TASK".
        what: String,
        /// Such as "retention limits, not work queue".
        difference: String,
    },
    /// It does not exist, and is not to be declared.
    #[error("{what} does not exist")]
    Missing {
        /// Such as "stream TASK".
        what: String,
    },
    /// The server refuses: for people to mend.
    #[error("{what} cannot be declared: {why}")]
    Refused {
        /// Such as "stream TASK".
        what: String,
        /// The server's words.
        why: String,
    },
    /// No answer, no connection, no leader: worth trying again.
    #[error("{what} cannot be reached: {why}")]
    Unavailable {
        /// Such as "stream TASK".
        what: String,
        /// What went wrong.
        why: String,
    },
}

impl DeclareError {
    /// Whether trying again may help without anybody doing anything.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl Tasks {
    /// Of this namespace, reached through this client; nothing is sent yet.
    pub fn new(client: Client, namespace: Namespace, settings: StreamSettings) -> Self {
        Self { context: jetstream::new(client), namespace, settings }
    }

    /// The namespace.
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The JetStream context.
    pub const fn context(&self) -> &jetstream::Context {
        &self.context
    }

    /// The settings.
    pub const fn settings(&self) -> &StreamSettings {
        &self.settings
    }

    /// Sees to it that the stream of durable requests exists.
    pub async fn declare_stream(&self) -> Result<(), DeclareError> {
        todo!()
    }

    /// Sees to it that the stream of dead letters exists.
    pub async fn declare_dead_letters(&self) -> Result<(), DeclareError> {
        todo!()
    }

    /// Sees to it that the app's durable consumer exists, with this ack wait.
    pub async fn declare_consumer(&self, _app: &App, _ack_wait: Duration) -> Result<(), DeclareError> {
        todo!()
    }

    /// The bucket of outcomes, which is declared if need be.
    pub async fn outcomes(&self) -> Result<Outcomes, DeclareError> {
        todo!()
    }

    /// The bucket of bodies, which is declared if need be.
    pub async fn bodies(&self) -> Result<Bodies, DeclareError> {
        todo!()
    }
}
