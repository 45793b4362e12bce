//! The settings of a cluster.

use super::{Cluster, free_ports};
use crate::{Binary, Error, Server, ServerBuilder};

/// How many sets of ports are tried if another process takes one.
const TRIES: usize = 10;

/// The settings of a [`Cluster`]; made by [`Cluster::builder`].
#[derive(Clone, Debug, Default)]
#[must_use = "a cluster is started by `start`"]
pub struct ClusterBuilder {
    binary: Option<Binary>,
    sync_always: bool,
}

impl ClusterBuilder {
    /// The program to run. Default: the one that [`Binary::find`] finds.
    pub fn binary(mut self, binary: Binary) -> Self {
        self.binary = Some(binary);
        self
    }

    /// [`ServerBuilder::sync_always`] for every server. Default: no.
    pub fn sync_always(mut self, sync_always: bool) -> Self {
        self.sync_always = sync_always;
        self
    }

    /// Starts the servers and waits until a stream can be created on all three.
    ///
    /// # Errors
    ///
    /// The errors of [`ServerBuilder::start`]; [`Error::NotTogether`] if the servers do not form a
    /// cluster within 30 s.
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

/// Whether another process took a port that was free before.
fn is_clash(error: &Error) -> bool {
    matches!(error, Error::Exited { log, .. } if log.contains("address already in use"))
}
