//! A process that does not outlive this program, even if that is killed with SIGKILL.
//!
//! The system can do this, but only if it is asked between fork and exec, which needs unsafe code.
//! So this starts two shells, each with a pipe from this program as its standard input:
//!
//! - The *gate* waits for a line, then becomes the server by `exec`: the server is a child of this
//!   program and has the gate's process id. If the program ends before it writes that line, the
//!   gate reads the end of the pipe and exits.
//! - The *watcher* knows that process id and waits for a line too. It gets the line once the server
//!   has ended. If it reads the end of the pipe instead, the program has ended: it kills the server
//!   and removes its directory.
//!
//! The gate gets its line once the watcher runs, so the server never runs unwatched. Each has its
//! own process group: a Ctrl-C in the terminal reaches the program, which can shut down while the
//! server still runs.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

const GATE: &str = r#"read -r line && exec "$0" "$@" </dev/null"#;

// Twice, as a file may be written while the directory is removed.
const WATCHER: &str = r#"read -r line || {
    kill -9 "$1"
    rm -rf -- "$2" || { sleep 1; rm -rf -- "$2"; }
}"#;

/// A server process and its watcher; dropping it kills and reaps both.
#[derive(Debug)]
pub(super) struct Process {
    server: Child,
    watcher: Option<Child>,
}

impl Process {
    /// Starts `program` with both outputs in `log`. The watcher removes `scratch` if this program
    /// ends without dropping the value.
    pub(super) fn spawn(
        program: &Path,
        arguments: &[OsString],
        log: &File,
        scratch: &Path,
    ) -> io::Result<Self> {
        let server = shell(GATE)
            .arg(program)
            .args(arguments)
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?)
            .spawn()?;
        // From here on, an early return drops the gate, which kills it.
        let mut process = Self { server, watcher: None };
        let watcher = shell(WATCHER)
            .arg("narun-watcher")
            .arg(process.id().to_string())
            .arg(scratch)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        process.watcher = Some(watcher);
        write_line(&mut process.server)?;
        Ok(process)
    }

    pub(super) fn id(&self) -> u32 {
        self.server.id()
    }

    /// The exit status of the server; `None` while it runs.
    pub(super) fn exited(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.server.try_wait()?;
        if status.is_some() {
            // Another process may get its id from now on.
            self.dismiss_watcher();
        }
        Ok(status)
    }

    /// Sends a signal, unless the server has ended.
    pub(super) fn signal(&mut self, signal: Signal) -> io::Result<()> {
        if self.exited()?.is_none()
            && let Some(pid) = i32::try_from(self.id()).ok().and_then(Pid::from_raw)
        {
            kill_process(pid, signal)?;
        }
        Ok(())
    }

    /// Sends SIGKILL and reaps.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.server.kill()?;
        // Before the server is reaped: the watcher must never kill another process with that id.
        self.dismiss_watcher();
        self.server.wait()?;
        Ok(())
    }

    fn dismiss_watcher(&mut self) {
        if let Some(mut watcher) = self.watcher.take() {
            // The watcher may have ended already.
            let _ = write_line(&mut watcher);
            let _ = watcher.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn shell(script: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script]).stdin(Stdio::piped()).process_group(0);
    shell
}

/// Writes a line to the standard input of a child and closes it.
fn write_line(child: &mut Child) -> io::Result<()> {
    match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(b"\n"),
        None => Ok(()),
    }
}
