//! Child processes that end with this one.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Error;
use crate::role::Job;

/// How long a process may take to become ready, and to end.
const LIMIT: Duration = Duration::from_secs(30);

/// The environment variable of examples that end when their standard input ends.
const ATTACHED: &str = "NARUN_EXAMPLE_ATTACHED";

/// This program, started again in a [role](crate::role), or an example. Dropping this value ends the process.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    /// Closing it tells the child to end.
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    address: String,
}

impl Process {
    /// Starts a process, and waits until it is ready.
    pub(crate) fn start(name: &'static str, job: &Job) -> Result<Self, Error> {
        let mut command = Command::new(std::env::current_exe()?);
        Self::of(name, command.args(["role", &serde_json::to_string(job)?]))
    }

    /// The command of an example of this workspace, which must have been built with the same profile.
    pub(crate) fn example(name: &str) -> Result<Command, Error> {
        let mut path = std::env::current_exe()?;
        path.pop();
        // Tests are one directory below the programs.
        if path.ends_with("deps") {
            path.pop();
        }
        path.extend(["examples", name]);
        if !path.exists() {
            let path = path.display();
            return Err(format!(
                "{path} is missing: build it with `cargo build -p narun-examples --example {name}`"
            )
            .into());
        }
        let mut command = Command::new(path);
        command.env(ATTACHED, "1").env("RUST_LOG", "error");
        Ok(command)
    }

    /// Starts a command that prints a ready line, and waits until it is ready.
    pub(crate) fn of(name: &'static str, command: &mut Command) -> Result<Self, Error> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = stdout.map(|stdout| BufReader::new(stdout).lines());
            for line in lines.into_iter().flatten().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut process = Self { name, child, stdin, lines, address: String::new() };
        // An example says where it listens before it is ready.
        let mut line = process.line(LIMIT)?;
        while line.starts_with("listening ") || line.starts_with("metrics ") {
            line = process.line(LIMIT)?;
        }
        match line.strip_prefix("ready ") {
            Some(address) => process.address = address.trim_start_matches("http://").to_owned(),
            None => return Err(format!("{name} printed {line:?} instead of a ready line").into()),
        }
        Ok(process)
    }

    /// Its name in the tables.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The address in its ready line.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Kills the process (SIGKILL), and waits until it has ended.
    pub(crate) fn kill(mut self) -> Result<(), Error> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Error> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.ok_or("a process without an id")?, signal)?)
    }

    /// Whether the process has ended by itself.
    pub(crate) fn is_gone(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends an order, and waits for the reply; both are one line.
    pub(crate) fn ask(&mut self, order: &str, limit: Duration) -> Result<String, Error> {
        self.send(order)?;
        self.line(limit)
    }

    /// Sends an order; the reply is the next [line](Self::line).
    pub(crate) fn send(&mut self, order: &str) -> Result<(), Error> {
        if let Some(stdin) = &mut self.stdin {
            writeln!(stdin, "{order}")?;
        }
        Ok(())
    }

    /// Waits for the next line that the process prints.
    pub(crate) fn line(&self, limit: Duration) -> Result<String, Error> {
        let line = self.lines.recv_timeout(limit);
        line.map_err(|error| format!("{} printed nothing: {error}", self.name).into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stdin = None;
        let deadline = Instant::now() + LIMIT;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}
