//! Parts of an example that run in processes of their own.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How long a process may take to become ready, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The environment variable of processes that end when their standard input ends.
pub(crate) const ATTACHED: &str = "NARUN_EXAMPLE_ATTACHED";

/// This program, started again for a part of its work. Dropping this value kills the process.
///
/// If this program is killed, the process shuts down as on [a signal](crate::signal::Shutdown::on_signal).
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Closed when this value is dropped, not when the child is waited for.
    _stdin: Option<ChildStdin>,
    /// Kept open: the process would get an error if it printed into a closed pipe.
    _stdout: BufReader<ChildStdout>,
    ready_text: String,
}

impl Process {
    /// Starts this program with these arguments and the URL of a nats-server in `NATS_URL`, and waits until it prints a
    /// line that begins with `ready`.
    ///
    /// # Errors
    ///
    /// If it does not start, ends, prints something else, or takes longer than a minute.
    pub async fn start<'a>(
        nats_url: &str,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(arguments)
            .env(ATTACHED, "1")
            // Not as an argument, which others could see: there may be a password in it.
            .env("NATS_URL", nats_url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("a process without output")?);
        let mut line = String::new();
        let ready = tokio::time::timeout(PATIENCE, stdout.read_line(&mut line)).await;
        ready.context("a process of this program does not start")??;
        let ready_text =
            line.trim_end().strip_prefix("ready").context("a process of this program did not start")?;
        Ok(Self {
            _stdin: child.stdin.take(),
            child,
            ready_text: ready_text.trim_start().to_owned(),
            _stdout: stdout,
        })
    }

    /// The text of its first line after `ready`.
    pub fn ready_text(&self) -> &str {
        &self.ready_text
    }

    /// Its process id. Returns `None` when it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until it ends by itself. Cancel safe.
    ///
    /// # Errors
    ///
    /// If waiting fails.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends it gracefully, by SIGTERM.
    ///
    /// # Errors
    ///
    /// If it has ended already, does not end within a minute, or fails.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let id = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        kill_process(id.context("a process of this program has ended by itself")?, Signal::TERM)?;
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended.context("a process of this program does not stop")??;
        ensure!(status.success(), "a process of this program ended with {status}");
        Ok(())
    }
}
