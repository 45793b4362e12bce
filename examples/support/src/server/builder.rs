//! The settings of a server.

use std::path::PathBuf;

use super::Server;
use crate::{Binary, Error};

/// The settings of a [`Server`]; made by [`Server::builder`].
#[derive(Clone, Debug, Default)]
#[must_use = "a server is started by `start`"]
pub struct ServerBuilder {
    pub(super) binary: Option<Binary>,
    pub(super) jetstream: bool,
    pub(super) sync_always: bool,
    pub(super) config: Option<String>,
    pub(super) store_dir: Option<PathBuf>,
    pub(super) port: Option<u16>,
}

impl ServerBuilder {
    /// The program to run. Default: the one that [`Binary::find`] finds.
    pub fn binary(mut self, binary: Binary) -> Self {
        self.binary = Some(binary);
        self
    }

    /// Whether the server has JetStream. Default: no, unless [`config`](Self::config) enables it.
    pub fn jetstream(mut self, jetstream: bool) -> Self {
        self.jetstream = jetstream;
        self
    }

    /// Whether JetStream syncs each message to disk before it acknowledges it. Default: no. A
    /// message is then written at once but synced every two minutes: it survives the end of the
    /// process, but not of the machine.
    ///
    /// This enables JetStream and needs 2.10 or later. A `jetstream` block of
    /// [`config`](Self::config) is then ignored.
    pub fn sync_always(mut self, sync_always: bool) -> Self {
        self.sync_always = sync_always;
        self
    }

    /// The text of a configuration file. Default: no file.
    ///
    /// Its address and port are ignored. A `store_dir` in it is an error.
    pub fn config(mut self, config: impl Into<String>) -> Self {
        self.config = Some(config.into());
        self
    }

    /// The directory of the JetStream store, which is kept when the server is dropped. Default: a
    /// temporary directory, which is removed.
    pub fn store_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.store_dir = Some(directory.into());
        self
    }

    /// A fixed port. Default: a free one, which the server chooses and keeps when it is restarted.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Starts the server and waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// The errors of [`Binary::find`] if no binary is set; [`Error::Exited`] if the server exits,
    /// for example because the port is in use or the configuration is invalid;
    /// [`Error::NotReady`] if this takes more than 30 s; [`Error::Run`] and [`Error::File`] if the
    /// system refuses.
    pub fn start(self) -> Result<Server, Error> {
        let binary = match &self.binary {
            Some(binary) => binary.clone(),
            None => Binary::find()?,
        };
        Server::new(self, binary)
    }

    /// The text of the configuration file; `None` if the server needs none.
    pub(super) fn configuration(&self) -> Option<String> {
        // Streams reserve what they may hold, and the streams of all tests reserve more than a machine has.
        let limits =
            self.jetstream.then_some("jetstream { max_file_store: 100TB, max_memory_store: 100TB }\n");
        let sync = self.sync_always.then_some(
            "jetstream { max_file_store: 100TB, max_memory_store: 100TB, sync_interval: always }\n",
        );
        // Of several blocks the server uses the last.
        let parts = [limits, self.config.as_deref(), sync];
        let text = parts.into_iter().flatten().collect::<Vec<_>>().join("\n");
        (!text.is_empty()).then_some(text)
    }
}
