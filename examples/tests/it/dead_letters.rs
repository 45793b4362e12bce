use http::StatusCode;
use narun_support::Server;
use rustix::process::Signal;

use crate::gateway::config;
use crate::program::{Program, UNKNOWN_STATUS, fetch, get, post_for_later, run};

/// A worker of the example `durable_jobs`.
async fn worker(nats: &Server, fixed: &[&str]) -> Program {
    let mut worker = Program::start("durable_jobs", [&["--nats-url", nats.url(), "worker"], fixed].concat());
    worker.line("ready").await;
    worker
}

#[tokio::test]
async fn dead_letters_are_listed_put_back_and_deleted() {
    let nats = Server::builder().jetstream(true).start().expect("a nats-server");
    let more = "  - path: \"/jobs/\"\n    app: \"jobs\"\nnats_stream: \"JOBS\"\n";
    let (_directory, config) = config(nats.url(), more);
    let mut gateway = Program::start("gateway", ["--config", &config]);
    let server = gateway.address("ready").await;
    assert_eq!(get(server, UNKNOWN_STATUS).await.0, StatusCode::NOT_FOUND);
    let dead_letters = async |arguments: &[&str]| {
        let all = [&["--nats-url", nats.url(), "--stream", "JOBS"], arguments].concat();
        run("dead_letters", all).await
    };
    let list = async |arguments: &[&str]| {
        let (code, text, error) = dead_letters(&[&["list"], arguments].concat()).await;
        assert_eq!((code, error.as_str()), (Some(0), ""), "{text}");
        text
    };
    assert_eq!(list(&[]).await, "", "there is no stream of dead letters yet");

    let failing = worker(&nats, &[]).await;
    let first = post_for_later(server, "/jobs/buggy?first").await;
    assert_eq!(fetch(server, &first).await.0, StatusCode::INTERNAL_SERVER_ERROR);
    let second = post_for_later(server, "/jobs/buggy?second").await;
    assert_eq!(fetch(server, &second).await.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(failing.end(Signal::TERM).await.success());

    let text = list(&["--app", "jobs"]).await;
    let lines: Vec<_> = text.lines().collect();
    let [one, its_request, two, other_request] = lines[..] else { panic!("{text}") };
    assert!(one.starts_with("1 jobs accepted "), "{text}");
    assert!(one.ends_with(", delivered 3 times: the handler panicked"), "{text}");
    assert!(two.starts_with("2 jobs accepted "), "{text}");
    assert_eq!(
        [its_request, other_request].map(str::trim),
        ["POST /jobs/buggy?first", "POST /jobs/buggy?second"]
    );
    assert_eq!(list(&["--app", "other"]).await, "");

    assert_eq!(dead_letters(&["put-back", "1"]).await.1, "1 is put back\n");
    let fixed = worker(&nats, &["--fixed"]).await;
    let done = (StatusCode::OK, "done, now that the bug is fixed".to_owned());
    assert_eq!(fetch(server, &first).await, done);
    assert_eq!(dead_letters(&["delete", "2"]).await.1, "2 is deleted\n");
    assert_eq!(list(&[]).await, "");
    let (code, _, error) = dead_letters(&["put-back", "2"]).await;
    assert_eq!((code, error.as_str()), (Some(1), "error: no such dead letter\n"));
    // A deleted dead letter keeps its outcome.
    assert_eq!(fetch(server, &second).await.0, StatusCode::INTERNAL_SERVER_ERROR);

    assert!(fixed.end(Signal::TERM).await.success());
    assert!(gateway.end(Signal::TERM).await.success());
}
