//! Credentials for NATS.

use narun_support::Server;
use rustix::process::Signal;

use crate::gateway::config;
use crate::program::{Program, ask, run, run_with};

/// A user and a password that have to be percent-encoded in a URL, and a nats-server that requires them.
const USER: (&str, &str) = ("me@example", "p/s:w?rd");

fn server() -> Server {
    let (user, password) = USER;
    let config = format!("authorization {{ user: \"{user}\", password: \"{password}\" }}");
    Server::builder().config(config).start().expect("a nats-server")
}

/// The URL of a server, with user and password.
fn url(nats: &Server, userinfo: &str) -> String {
    nats.url().replace("nats://", &format!("nats://{userinfo}@"))
}

#[tokio::test]
async fn credentials_come_from_the_url_the_file_and_the_environment() {
    let nats = server();
    let (user, password) = USER;
    let with_user = url(&nats, "me%40example:p%2Fs%3Aw%3Frd");
    let keys = format!("nats_username: '{user}'\nnats_password: '${{NARUN_TEST_PASSWORD}}'\n");
    let (_one, in_url) = config(&with_user, "");
    let (_two, in_keys) = config(nats.url(), &keys);
    let environment = [("NATS_USERNAME", user), ("NATS_PASSWORD", password)];

    let mut hello = Program::start("hello", ["--nats-url", &with_user]);
    hello.line("ready").await;
    assert!(hello.end(Signal::TERM).await.success());
    let mut hello = Program::start_with("hello", ["--nats-url", nats.url()], &environment);
    hello.line("ready").await;
    for config in [in_url, in_keys] {
        let variables = [("NARUN_TEST_PASSWORD", password)];
        let mut gateway = Program::start_with("gateway", ["--config", &config], &variables);
        ask(gateway.address("ready").await).await;
        assert!(gateway.end(Signal::TERM).await.success());
    }
    let mut gateway = Program::start_with(
        "smallest_gateway",
        [""; 0],
        &[("NATS_URL", &with_user), ("LISTEN", "127.0.0.1:0")],
    );
    ask(gateway.address("ready").await).await;
    assert!(gateway.end(Signal::TERM).await.success());

    let mut server =
        Program::start_with("grpc_server", [""; 0], &[("GRPC_PORT", "0"), ("NATS_URLS", &with_user)]);
    server.line("ready ").await;
    assert!(server.end(Signal::TERM).await.success());
    assert!(hello.end(Signal::TERM).await.success());
}

#[tokio::test]
async fn wrong_credentials_are_an_error_at_start() {
    let nats = server();
    let wrong = url(&nats, "me%40example:wrong");
    let (_one, in_url) = config(&wrong, "");
    let (_two, without) = config(nats.url(), "");
    let (_three, authority) = config(nats.url(), "nats_tls_ca: /nowhere.pem\n");
    for (example, arguments, variables) in [
        ("gateway", &["--config", &in_url][..], &[][..]),
        ("gateway", &["--config", &without], &[]),
        ("gateway", &["--config", &authority], &[]),
        ("hello", &["--nats-url", &wrong], &[]),
        ("hello", &["--nats-url", nats.url()], &[("NATS_TOKEN", "wrong")]),
        ("hello", &["--nats-url", nats.url()], &[("NATS_NKEY", "no seed")]),
        ("hello", &["--nats-url", nats.url()], &[("NATS_CREDS", "/nowhere.creds")]),
        ("grpc_server", &[], &[("GRPC_PORT", "0"), ("NATS_URLS", &wrong)]),
        ("smallest_consumer", &[], &[("NATS_URL", &wrong)]),
        ("axum_layer", &["--listen", "127.0.0.1:0", "--nats-url", &wrong], &[]),
    ] {
        let (code, text, error) = run_with(example, arguments, variables).await;
        assert_eq!((code, text.contains("ready")), (Some(1), false), "{example}: {text}{error}");
        assert!(!error.contains("wrong"), "{example}: {error}");
    }
    let (code, _, error) = run("gateway", ["--config", &without]).await;
    assert!(code == Some(1) && error.contains("authorization violation"), "{error}");
}
