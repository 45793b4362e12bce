//! Child processes that end with this one.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;
use crate::role::Job;

/// How long a process may take to be ready, and to end.
const LIMIT: Duration = Duration::from_secs(30);

/// This program, started again in a [role](crate::role); dropping it ends it.
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
    /// Starts it and waits until it is ready.
    pub(crate) fn start(name: &'static str, job: &Job) -> Result<Self, Error> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["role", &serde_json::to_string(job)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
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
        let line = process.line(LIMIT)?;
        match line.strip_prefix("ready ") {
            Some(address) => process.address = address.to_owned(),
            None => return Err(format!("{name} said {line:?} instead of being ready").into()),
        }
        Ok(process)
    }

    /// What the tables call it.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it says it serves.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub(crate) fn kill(mut self) -> Result<(), Error> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Whether it has ended by itself.
    pub(crate) fn is_gone(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Gives it an order and waits for the answer, both of one line.
    pub(crate) fn ask(&mut self, order: &str, limit: Duration) -> Result<String, Error> {
        self.tell(order)?;
        self.line(limit)
    }

    /// Gives it an order, whose answer is the next line.
    pub(crate) fn tell(&mut self, order: &str) -> Result<(), Error> {
        if let Some(stdin) = &mut self.stdin {
            writeln!(stdin, "{order}")?;
        }
        Ok(())
    }

    /// The next line that it says.
    pub(crate) fn line(&self, limit: Duration) -> Result<String, Error> {
        let line = self.lines.recv_timeout(limit);
        line.map_err(|error| format!("no word from {}: {error}", self.name).into())
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
