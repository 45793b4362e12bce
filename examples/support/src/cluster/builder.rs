//! Setting up a cluster.

use super::{Cluster, free_ports};
use crate::{Binary, Error, Server, ServerBuilder};

/// How often other ports are tried when somebody took one.
const TRIES: usize = 10;

/// A cluster to be; [`Cluster::builder`] makes one.
#[derive(Clone, Debug, Default)]
#[must_use = "a cluster is started by `start`"]
pub struct ClusterBuilder {
    binary: Option<Binary>,
    sync_always: bool,
}

impl ClusterBuilder {
    /// The program to run; default: what [`Binary::find`] finds.
    pub fn binary(mut self, binary: Binary) -> Self {
        self.binary = Some(binary);
        self
    }

    /// As [`ServerBuilder::sync_always`], for every server; default: no.
    pub fn sync_always(mut self, sync_always: bool) -> Self {
        self.sync_always = sync_always;
        self
    }

    /// Starts the servers and waits until a stream can be declared on all three.
    ///
    /// # Errors
    ///
    /// Those of [`ServerBuilder::start`]; [`Error::NotTogether`] if the servers do not find each
    /// other within 30 s.
    pub fn start(self) -> Result<Cluster, Error> {
        let binary = match self.binary {
            Some(binary) => binary,
            None => Binary::find()?,
        };
        let setup: ServerBuilder =
            Server::builder().binary(binary).jetstream(true).sync_always(self.sync_always);
        let mut tries = 1;
        loop {
            match Cluster::launch(&setup, &free_ports()?) {
                Err(error) if is_clash(&error) && tries < TRIES => tries += 1,
                result => return result,
            }
        }
    }
}

/// Whether somebody took a port that was free a moment before.
fn is_clash(error: &Error) -> bool {
    matches!(error, Error::Exited { log, .. } if log.contains("address already in use"))
}
