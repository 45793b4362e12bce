//! A server does not outlive its program.

use std::env;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use narun_support::Server;

use crate::wire::{Connection, eventually, listens};

/// How the program ends once it has a server.
const ENDING: &str = "NARUN_SUPPORT_TEST_ENDING";

/// The program that the tests start: this test binary, with this test only.
#[test]
#[ignore = "the other tests here start it"]
fn program() {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let Ok(ending) = env::var(ENDING) else { return };
    let mut server = Server::builder().jetstream(true).start().expect("a server");
    if ending == "killed after a restart" {
        server.kill().expect("a dead server");
        server.restart().expect("the server again");
    }
    let server = SERVER.get_or_init(|| server);
    println!("\nhas {} {}", server.port(), server.log_path().display());
    if ending == "returns" {
        return;
    }
    // Waits until it is killed, or the test that started it has ended.
    let _ = std::io::stdin().lines().next();
}

struct Program {
    child: Child,
    /// Kept open for the output of the test harness in the program.
    _output: Lines<BufReader<ChildStdout>>,
    port: u16,
    directory: PathBuf,
}

impl Program {
    fn start(ending: &str) -> Self {
        let mut child = Command::new(env::current_exe().expect("this binary"))
            .args(["--exact", "supervision::program", "--ignored"])
            .arg("--nocapture")
            .env(ENDING, ending)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a program");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line =
            lines.find_map(|line| Some(line.ok()?.strip_prefix("has ")?.to_owned())).expect("its server");
        let (port, log) = line.split_once(' ').expect("a port and a path");
        Self {
            child,
            _output: lines,
            port: port.parse().expect("a port"),
            directory: Path::new(log).parent().expect("a directory").to_owned(),
        }
    }

    fn leaves_nothing(mut self) {
        self.child.wait().expect("its end");
        eventually("the end of the server", || !listens(self.port));
        eventually("the end of its files", || !self.directory.exists());
    }
}

#[test]
fn a_killed_program_leaves_no_server() {
    let mut program = Program::start("killed");
    Connection::open(program.port);
    assert!(program.directory.join("store").is_dir());
    program.child.kill().expect("SIGKILL sent");
    program.leaves_nothing();
}

#[test]
fn a_killed_program_leaves_no_restarted_server() {
    let mut program = Program::start("killed after a restart");
    Connection::open(program.port);
    program.child.kill().expect("SIGKILL sent");
    program.leaves_nothing();
}

#[test]
fn a_server_in_a_static_ends_with_the_program() {
    Program::start("returns").leaves_nothing();
}
