//! Setting up a server.

use std::path::PathBuf;

use super::Server;
use crate::{Binary, Error};

/// A server to be; [`Server::builder`] makes one.
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
    /// The program to run; default: what [`Binary::find`] finds.
    pub fn binary(mut self, binary: Binary) -> Self {
        self.binary = Some(binary);
        self
    }

    /// Whether it has JetStream; default: no, unless [`config`](Self::config) says so.
    pub fn jetstream(mut self, jetstream: bool) -> Self {
        self.jetstream = jetstream;
        self
    }

    /// Whether JetStream has each message on disk before it acknowledges it; default: no, it is
    /// written at once but synced every two minutes, so that the process may die but not the
    /// machine.
    ///
    /// It switches JetStream on, and takes 2.10 or later. A `jetstream` block of
    /// [`config`](Self::config) does not count then.
    pub fn sync_always(mut self, sync_always: bool) -> Self {
        self.sync_always = sync_always;
        self
    }

    /// The text of a configuration file; default: none.
    ///
    /// Address and port are those set here, whatever it says; a `store_dir` in it is an error.
    pub fn config(mut self, config: impl Into<String>) -> Self {
        self.config = Some(config.into());
        self
    }

    /// Where JetStream stores, kept when the server is dropped; default: a temporary directory,
    /// which is not.
    pub fn store_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.store_dir = Some(directory.into());
        self
    }

    /// A fixed port; default: a free one, which the server chooses. A restart needs no fixed one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Starts it and waits until it takes connections.
    ///
    /// # Errors
    ///
    /// Those of [`Binary::find`] if no binary was set; [`Error::Exited`] if the server ends at
    /// once, as with a port in use or a mistake in the configuration; [`Error::NotReady`] if it
    /// takes more than 30 s; [`Error::Run`] and [`Error::File`] if the system refuses.
    pub fn start(self) -> Result<Server, Error> {
        let binary = match &self.binary {
            Some(binary) => binary.clone(),
            None => Binary::find()?,
        };
        Server::new(self, binary)
    }

    /// The text of the configuration file; none if there need not be one.
    pub(super) fn configuration(&self) -> Option<String> {
        let sync = self.sync_always.then_some("jetstream { sync_interval: always }\n");
        match (&self.config, sync) {
            (None, sync) => sync.map(str::to_owned),
            (Some(text), None) => Some(text.clone()),
            // The last of two blocks counts.
            (Some(text), Some(sync)) => Some(format!("{text}\n{sync}")),
        }
    }
}
