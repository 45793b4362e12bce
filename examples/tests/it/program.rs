//! Examples that run as processes.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use narun_examples::client;
use narun_examples::hello::{self, HelloRequest, HelloResponse};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;

/// The timeout of every wait: enough to fetch a nats-server on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A running example. Dropping this value kills it.
pub(crate) struct Program {
    child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
    log: Option<Lines<BufReader<ChildStderr>>>,
}

/// The command of an example.
fn command(example: &str) -> Command {
    let mut path: PathBuf = std::env::current_exe().expect("a test has a path");
    // From target/debug/deps/test to target/debug/examples/example.
    path.pop();
    path.pop();
    path.extend(["examples", example]);
    assert!(path.exists(), "{} is missing; `cargo build --workspace --examples` makes it", path.display());
    let mut command = Command::new(path);
    for variable in ["LISTEN", "JWT_SECRET", "GRPC_TOKEN", "LOKI_URL"] {
        command.env_remove(variable);
    }
    for (variable, _) in std::env::vars_os() {
        let is_setting = |name: &str| ["NATS_", "GRPC_", "JWT_"].iter().any(|begin| name.starts_with(begin));
        if variable.to_str().is_some_and(is_setting) && variable != "NATS_SERVER" {
            command.env_remove(variable);
        }
    }
    command.env("RUST_LOG", "warn").stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs an example to its end. Returns its exit code, standard output and standard error.
pub(crate) async fn run<A: AsRef<OsStr>>(
    example: &str,
    arguments: impl IntoIterator<Item = A>,
) -> (Option<i32>, String, String) {
    run_with(example, arguments, &[]).await
}

/// Like [`run`], with these environment variables.
pub(crate) async fn run_with<A: AsRef<OsStr>>(
    example: &str,
    arguments: impl IntoIterator<Item = A>,
    variables: &[(&str, &str)],
) -> (Option<i32>, String, String) {
    let mut command = command(example);
    command.envs(variables.iter().copied());
    let output = timeout(PATIENCE, command.args(arguments).output()).await;
    let output = output.expect("it ends in time").expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

impl Program {
    pub(crate) fn start<A: AsRef<OsStr>>(example: &str, arguments: impl IntoIterator<Item = A>) -> Self {
        Self::start_with(example, arguments, &[])
    }

    /// Like [`start`](Self::start), with these environment variables.
    pub(crate) fn start_with<A: AsRef<OsStr>>(
        example: &str,
        arguments: impl IntoIterator<Item = A>,
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = command(example);
        command.envs(variables.iter().copied());
        Self::of(command.args(arguments), true)
    }

    /// Like [`start`](Self::start), with a log, whose lines [`logged`](Self::logged) reads.
    pub(crate) fn start_logging<A: AsRef<OsStr>>(
        example: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self::of(command(example).env("RUST_LOG", "info").args(arguments).stderr(Stdio::piped()), true)
    }

    fn of(command: &mut Command, is_heard: bool) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let output = child.stdout.take().expect("it is piped");
        let lines = is_heard.then(|| BufReader::new(output).lines());
        let log = child.stderr.take().map(|log| BufReader::new(log).lines());
        Self { child, lines, log }
    }

    /// Waits for a line with this prefix, and returns the rest of the line.
    pub(crate) async fn line(&mut self, beginning: &str) -> String {
        let lines = self.lines.as_mut().expect("its output is read");
        let find = async {
            while let Some(line) = lines.next_line().await.expect("output is text") {
                if let Some(rest) = line.strip_prefix(beginning) {
                    return rest.to_owned();
                }
            }
            panic!("it ended without printing {beginning:?}");
        };
        timeout(PATIENCE, find).await.expect("it prints that in time")
    }

    /// Waits for a line with this prefix and a URL, such as `ready http://127.0.0.1:1234`, and returns the address.
    pub(crate) async fn address(&mut self, beginning: &str) -> SocketAddr {
        let url = self.line(&format!("{beginning} http://")).await;
        let address = url.split('/').next().expect("there is always one");
        address.parse().expect("an address")
    }

    /// Waits for a log line that contains this text.
    pub(crate) async fn logged(&mut self, text: &str) {
        let log = self.log.as_mut().expect("it was started with a log");
        soon(text, async {
            while let Some(line) = log.next_line().await.expect("the log is text") {
                if line.contains(text) {
                    return;
                }
            }
            panic!("it ended without logging {text:?}");
        })
        .await;
    }

    /// Like [`start_logging`](Self::start_logging), with these environment variables, and with an output that nobody reads.
    pub(crate) fn start_unheard<A: AsRef<OsStr>>(
        example: &str,
        arguments: impl IntoIterator<Item = A>,
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = command(example);
        let mut program = Self::of(
            command
                .env("RUST_LOG", "info")
                .envs(variables.iter().copied())
                .args(arguments)
                .stderr(Stdio::piped()),
            false,
        );
        program.close_log();
        program
    }

    /// Closes the reading end of the log, as when the program that read it has died.
    pub(crate) fn close_log(&mut self) {
        self.log = None;
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        kill_process(pid.expect("it runs"), signal).expect("it takes signals");
    }

    /// Sends a signal, and waits until the process has ended.
    pub(crate) async fn end(self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.ended().await
    }

    /// Waits until the process has ended.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("it ends in time").expect("it has a status")
    }
}

/// Sends the request of the documentation, and checks the response.
pub(crate) async fn ask(server: SocketAddr) {
    let request = HelloRequest::example();
    let response = post(server, serde_json::to_string(&request).expect("it is JSON")).await;
    assert_eq!(response.status(), StatusCode::OK, "{response:?}");
    let response: HelloResponse = serde_json::from_slice(response.body()).expect("a response");
    assert_eq!(response, HelloResponse::new(&request, hello::PATH));
}

pub(crate) async fn post(server: SocketAddr, body: impl Into<Bytes>) -> Response<Bytes> {
    client::send(server, Method::POST, hello::PATH, body).await.expect("there is a response")
}

/// Sends the request of the documentation with these fields to a path.
pub(crate) async fn post_with(server: SocketAddr, path: &str, fields: &[(&str, &str)]) -> Response<Bytes> {
    let content = serde_json::to_vec(&HelloRequest::example()).expect("it is JSON");
    let mut request = Request::post(format!("http://{server}{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(content.into()).expect("a request");
    client::send_request(request).await.expect("there is a response")
}

/// The path of a status resource whose request does not exist.
pub(crate) const UNKNOWN_STATUS: &str = "/.narun/requests/aaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Waits for a future. Panics when it times out.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// Waits until a condition holds. Panics when that times out.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Sends a request that gets 202, and returns the location of its response.
pub(crate) async fn post_for_later(server: SocketAddr, path: &str) -> String {
    let accepted = post_with(server, path, &[("prefer", "respond-async")]).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED, "{accepted:?}");
    let location = accepted.headers().get("location").expect("a location");
    location.to_str().expect("text").to_owned()
}

/// Requests a location until the response is there.
pub(crate) async fn fetch(server: SocketAddr, location: &str) -> (StatusCode, String) {
    let fetch = async {
        loop {
            match get(server, location).await {
                (StatusCode::ACCEPTED, _) => tokio::time::sleep(Duration::from_millis(20)).await,
                response => return response,
            }
        }
    };
    timeout(PATIENCE, fetch).await.expect("it is done in time")
}

pub(crate) async fn get(server: SocketAddr, path: &str) -> (StatusCode, String) {
    let response = client::send(server, Method::GET, path, "").await.expect("there is a response");
    (response.status(), String::from_utf8(response.body().to_vec()).expect("text"))
}
