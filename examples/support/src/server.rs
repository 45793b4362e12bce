//! A private nats-server.

mod builder;
mod ports;
mod process;

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use self::builder::ServerBuilder;
use self::process::Process;
use crate::error::tail;
use crate::wire::Connection;
use crate::{Binary, Error};

/// How long a server may take to start, and to stop when told to.
const LIMIT: Duration = Duration::from_secs(30);

/// How long a response may take, such as that of a cluster that elects a leader.
const RESPONSE_LIMIT: Duration = Duration::from_secs(60);

/// Between two looks at something that will be there in some milliseconds.
const PAUSE: Duration = Duration::from_millis(5);

/// A nats-server on 127.0.0.1 that belongs to this value, and is killed when it is dropped or the
/// program ends, however that comes about.
///
/// Its log and, unless another place was set, its store lie in a temporary directory that goes
/// with it.
#[derive(Debug)]
pub struct Server {
    // Dropped in this order: the server has ended before its files are removed.
    process: Option<Process>,
    setup: ServerBuilder,
    binary: Binary,
    port: u16,
    url: String,
    scratch: TempDir,
}

impl Server {
    /// Starts the server that [`Binary::find`] finds, without JetStream, on a free port.
    ///
    /// # Errors
    ///
    /// As [`ServerBuilder::start`].
    pub fn start() -> Result<Self, Error> {
        Self::builder().start()
    }

    /// Sets up a server that is not as [`start`](Self::start) makes it.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Where it takes clients, `nats://127.0.0.1:PORT`; the same after a [`restart`](Self::restart).
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port of [`url`](Self::url).
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id; none after [`kill`](Self::kill) and [`stop`](Self::stop).
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// The program that it runs.
    #[must_use]
    pub fn binary(&self) -> &Binary {
        &self.binary
    }

    /// The file that it logs to, across restarts.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.scratch.path().join("nats-server.log")
    }

    /// The directory of its JetStream store, which exists once JetStream ran.
    #[must_use]
    pub fn store_dir(&self) -> PathBuf {
        match &self.setup.store_dir {
            Some(directory) => directory.clone(),
            None => self.scratch.path().join("store"),
        }
    }

    /// Sends a NATS request and returns the payload of the response.
    ///
    /// The request is sent again every 250 ms until it is answered, as a cluster drops requests while it elects a
    /// leader. All copies have the same message id: a stream stores one of them.
    ///
    /// # Errors
    ///
    /// [`Error::Request`] if there is no response within 60 s, or the connection breaks.
    pub fn request(&self, subject: &str, payload: &str) -> Result<String, Error> {
        Connection::open(self.port)
            .and_then(|connection| connection.request(subject, payload, RESPONSE_LIMIT))
            .map_err(|source| Error::Request { subject: subject.to_owned(), source })
    }

    /// Kills it (SIGKILL) and waits until it is gone; does nothing if it is gone already.
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

    /// Tells it to stop (SIGTERM) and waits until it has; does nothing if it is gone already.
    ///
    /// # Errors
    ///
    /// [`Error::NotStopped`] if it takes more than 30 s: it is killed then. [`Error::Process`] if
    /// the system refuses.
    pub fn stop(&mut self) -> Result<(), Error> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        process.terminate().map_err(Error::process)?;
        let deadline = Instant::now() + LIMIT;
        while process.exited().map_err(Error::process)?.is_none() {
            if Instant::now() > deadline {
                return Err(Error::NotStopped { limit: LIMIT });
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Starts it again, on the same port and with the same store; kills it first if it runs.
    ///
    /// Should somebody have taken the port meanwhile, it tries for 30 s: a client that reconnects
    /// to a port of the dynamic range while nobody listens can by chance be given that very port.
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

    /// Makes the directory and starts the server for the first time.
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

    /// Starts the process and waits until it takes connections; without a port it chooses one.
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

    /// What it is started with. Arguments go before what the configuration says.
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
        if let Some(text) = self.setup.configuration() {
            let path = scratch.join("nats-server.conf");
            fs::write(&path, text).map_err(Error::file(&path))?;
            arguments.extend(["-c".into(), path.into()]);
        }
        Ok(arguments)
    }

    fn log_since(&self, start: u64) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(log.len());
        tail(&String::from_utf8_lossy(&log[start..]))
    }
}
