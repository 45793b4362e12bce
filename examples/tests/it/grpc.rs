use std::io::Write;

use rustix::process::Signal;

use crate::program::{Program, get, run};

/// A server on a port of its own, and its URL.
async fn server(arguments: &[&str]) -> (Program, String) {
    let mut server = Program::start_with("grpc_server", arguments, &[("GRPC_PORT", "0")]);
    let address = server.line("ready ").await;
    (server, format!("http://{address}"))
}

#[tokio::test]
async fn every_method_works() {
    let (server, url) = server(&[]).await;
    let (code, text, error) = run("grpc_client", ["--server", &url]).await;
    assert_eq!((code, error.as_str()), (Some(0), ""), "{text}");
    assert!(text.ends_with("all is well\n"), "{text}");
    assert!(server.end(Signal::TERM).await.success());
}

#[tokio::test]
async fn only_known_tokens_are_served() {
    let mut tokens = tempfile::NamedTempFile::new().expect("a file");
    writeln!(tokens, "# token, user\n\na-long-and-secret-token ann").expect("it is written");
    let path = tokens.path().to_str().expect("a path").to_owned();
    let (server, url) = server(&["--tokens", &path]).await;
    let (code, ..) = run("grpc_client", ["--server", &url, "--user", "ann"]).await;
    assert_eq!(code, Some(1));
    let token = "a-long-and-secret-token";
    let (code, ..) = run("grpc_client", ["--server", &url, "--user", "bob", "--token", token]).await;
    assert_eq!(code, Some(1));
    let (code, text, error) = run("grpc_client", ["--server", &url, "--user", "ann", "--token", token]).await;
    assert_eq!((code, error.as_str()), (Some(0), ""), "{text}");
    assert!(server.end(Signal::INT).await.success());
}

#[tokio::test]
async fn an_axum_app_serves_it_too() {
    let mut app = Program::start("grpc_embedded", ["--listen", "127.0.0.1:0"]);
    let address = app.line("ready ").await;
    let (status, _) = get(address.parse().expect("an address"), "/").await;
    assert_eq!(status, 200);
    let (code, text, error) = run("grpc_client", ["--server", &format!("http://{address}")]).await;
    assert_eq!((code, error.as_str()), (Some(0), ""), "{text}");
    assert!(app.end(Signal::TERM).await.success());
}
