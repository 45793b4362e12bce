//! A private nats-server.

mod builder;
mod ports;
mod process;

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

pub use self::builder::ServerBuilder;
use self::process::Process;
use crate::error::tail;
use crate::wire::Connection;
use crate::{Binary, Error};

/// How long a server may take to start, and to stop after SIGTERM.
const LIMIT: Duration = Duration::from_secs(30);

/// How long a server may take to stop after SIGUSR2: its default is two minutes.
const LAME_DUCK_LIMIT: Duration = Duration::from_secs(180);

/// How long a response may take, for example while a cluster elects a leader.
const RESPONSE_LIMIT: Duration = Duration::from_secs(60);

/// The pause between two checks of something that takes milliseconds.
const PAUSE: Duration = Duration::from_millis(5);

/// A nats-server on 127.0.0.1, which is killed when this value is dropped or the program ends, even
/// if that is killed.
///
/// Its log is in a temporary directory, which is removed with it. So is its store, unless
/// [another directory](ServerBuilder::store_dir) is set.
#[derive(Debug)]
pub struct Server {
    // Dropped in this order, so that the server has ended before its files are removed.
    process: Option<Process>,
    setup: ServerBuilder,
    binary: Binary,
    port: u16,
    url: String,
    scratch: TempDir,
}

impl Server {
    /// Starts the program that [`Binary::find`] finds, without JetStream, on a free port.
    ///
    /// # Errors
    ///
    /// As [`ServerBuilder::start`].
    pub fn start() -> Result<Self, Error> {
        Self::builder().start()
    }

    /// Returns a builder for a server with other settings than those of [`start`](Self::start).
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Its URL, `nats://127.0.0.1:PORT`. A [`restart`](Self::restart) does not change it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port of [`url`](Self::url).
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id; `None` after [`kill`](Self::kill) and [`stop`](Self::stop).
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// The program of its process.
    #[must_use]
    pub fn binary(&self) -> &Binary {
        &self.binary
    }

    /// Its log file. A restart appends to it.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.scratch.path().join("nats-server.log")
    }

    /// The directory of its JetStream store. It exists once JetStream has run.
    #[must_use]
    pub fn store_dir(&self) -> PathBuf {
        match &self.setup.store_dir {
            Some(directory) => directory.clone(),
            None => self.scratch.path().join("store"),
        }
    }

    /// Sends a NATS request and returns the payload of the response.
    ///
    /// The request is sent again every 250 ms until the response arrives, as a cluster drops requests while it elects
    /// a leader. All copies have the same message id: a stream stores one of them.
    ///
    /// # Errors
    ///
    /// [`Error::Request`] if there is no response within 60 s, or the connection breaks.
    pub fn request(&self, subject: &str, payload: &str) -> Result<String, Error> {
        Connection::open(self.port)
            .and_then(|connection| connection.request(subject, payload, RESPONSE_LIMIT))
            .map_err(|source| Error::Request { subject: subject.to_owned(), source })
    }

    /// Sends SIGKILL and waits until the server has ended. Does nothing if it has ended already.
    ///
    /// # Errors
    ///
    /// [`Error::Process`] if the system refuses.
    pub fn kill(&mut self) -> Result<(), Error> {
        match self.process.take() {
            Some(mut process) => process.kill().map_err(Error::process),
            None => Ok(()),
        }
    }

    /// Sends SIGTERM and waits until the server has ended. Does nothing if it has ended already.
    ///
    /// # Errors
    ///
    /// [`Error::NotStopped`] if this takes more than 30 s: the server is then killed.
    /// [`Error::Process`] if the system refuses.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.end(Signal::TERM, LIMIT)
    }

    /// Sends SIGUSR2, after which the server asks its clients to connect elsewhere, closes their connections one by one, and
    /// ends. Waits until it has ended, which takes the `lame_duck_duration` of its configuration. Does nothing if it has ended
    /// already.
    ///
    /// # Errors
    ///
    /// As [`stop`](Self::stop), with a limit of three minutes.
    pub fn lame_duck(&mut self) -> Result<(), Error> {
        self.end(Signal::USR2, LAME_DUCK_LIMIT)
    }

    /// Has the server read this configuration in place of the one of [`ServerBuilder::config`]: SIGHUP. The server does so
    /// soon, and keeps the old one if the new one is invalid. Does nothing if it has ended.
    ///
    /// # Errors
    ///
    /// [`Error::File`] and [`Error::Process`] if the system refuses.
    pub fn reload(&mut self, config: impl Into<String>) -> Result<(), Error> {
        self.setup.config = Some(config.into());
        self.write_configuration()?;
        match &mut self.process {
            Some(process) => process.signal(Signal::HUP).map_err(Error::process),
            None => Ok(()),
        }
    }

    /// Starts the server again, on the same port and with the same store. Kills it first if it runs.
    ///
    /// If the port is in use, this retries for 30 s. A client that tries to connect to a port of
    /// the dynamic range while no server listens can by chance get that port as its own.
    ///
    /// # Errors
    ///
    /// As [`ServerBuilder::start`].
    pub fn restart(&mut self) -> Result<(), Error> {
        self.kill()?;
        let deadline = Instant::now() + LIMIT;
        loop {
            match self.launch(Some(self.port)) {
                Err(Error::Exited { log, .. })
                    if log.contains("address already in use") && Instant::now() < deadline =>
                {
                    thread::sleep(PAUSE);
                }
                result => return result,
            }
        }
    }

    /// Sends a signal that ends the server, and waits until it has ended.
    fn end(&mut self, signal: Signal, limit: Duration) -> Result<(), Error> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        process.signal(signal).map_err(Error::process)?;
        let deadline = Instant::now() + limit;
        while process.exited().map_err(Error::process)?.is_none() {
            if Instant::now() > deadline {
                return Err(Error::NotStopped { limit });
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Creates the directory and starts the server for the first time.
    fn new(setup: ServerBuilder, binary: Binary) -> Result<Self, Error> {
        let scratch = tempfile::Builder::new()
            .prefix("narun-nats-")
            .tempdir()
            .map_err(Error::file(std::env::temp_dir()))?;
        let port = setup.port;
        let mut server = Self { process: None, setup, binary, port: 0, url: String::new(), scratch };
        server.launch(port)?;
        Ok(server)
    }

    /// Starts the process and waits until it accepts connections. If `port` is `None`, the server chooses one.
    fn launch(&mut self, port: Option<u16>) -> Result<(), Error> {
        let log_path = self.log_path();
        let before = fs::metadata(&log_path).map_or(0, |meta| meta.len());
        let log =
            OpenOptions::new().create(true).append(true).open(&log_path).map_err(Error::file(&log_path))?;
        let arguments = self.arguments(port)?;
        let mut process = Process::spawn(self.binary.path(), &arguments, &log, self.scratch.path())
            .map_err(|source| Error::Run { path: self.binary.path().to_owned(), source })?;

        let deadline = Instant::now() + LIMIT;
        self.port = loop {
            if let Some(port) = ports::client(self.scratch.path(), process.id()) {
                break port;
            }
            if let Some(status) = process.exited().map_err(Error::process)? {
                let log = self.log_since(before);
                return Err(Error::Exited { status, log });
            }
            if Instant::now() > deadline {
                let log = self.log_since(before);
                return Err(Error::NotReady { limit: LIMIT, log });
            }
            thread::sleep(PAUSE);
        };
        self.url = format!("nats://127.0.0.1:{}", self.port);
        self.process = Some(process);
        Ok(())
    }

    /// The arguments of the process. They take precedence over the configuration.
    fn arguments(&self, port: Option<u16>) -> Result<Vec<OsString>, Error> {
        let scratch = self.scratch.path();
        let port = port.map_or_else(|| "-1".to_owned(), |port| port.to_string());
        let mut arguments: Vec<OsString> = vec!["-a".into(), "127.0.0.1".into()];
        arguments.extend(["-p".into(), port.into()]);
        arguments.extend(["--ports_file_dir".into(), scratch.into()]);
        arguments.extend(["-sd".into(), self.store_dir().into()]);
        if self.setup.jetstream {
            arguments.push("-js".into());
        }
        if let Some(path) = self.write_configuration()? {
            arguments.extend(["-c".into(), path.into()]);
        }
        Ok(arguments)
    }

    /// Writes the configuration file. Returns `None` if the server needs none.
    fn write_configuration(&self) -> Result<Option<PathBuf>, Error> {
        let Some(text) = self.setup.configuration() else { return Ok(None) };
        let path = self.scratch.path().join("nats-server.conf");
        fs::write(&path, text).map_err(Error::file(&path))?;
        Ok(Some(path))
    }

    fn log_since(&self, start: u64) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(log.len());
        tail(&String::from_utf8_lossy(&log[start..]))
    }
}
