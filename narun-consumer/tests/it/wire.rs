//! A real HTTP server with a gateway, and a client that writes HTTP by hand.

use std::net::Ipv4Addr;

use axum::Router;
use axum::routing::get;
use narun_consumer::serve;
use narun_gateway::{Gateway, Route};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::service_fn;

use crate::gate::Gate;
use crate::harness::{connect, eventually, new_app, soon, start};

/// An axum app with a route of its own and those of the gateway.
async fn front(app: &str) -> u16 {
    let gateway = Gateway::builder(connect().await)
        .route(Route::any("/remote/", app).prefix())
        .build()
        .await
        .expect("a gateway");
    let router = Router::new().route("/local", get(|| async { "local" })).layer(gateway.layer());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(axum::serve(listener, router).into_future());
    port
}

async fn open(port: u16, method: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("a connection");
    let head = format!("{method} {path} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("a request sent");
    stream
}

/// Returns the whole response as text.
async fn exchange(port: u16, method: &str, path: &str) -> String {
    let mut text = String::new();
    let mut stream = open(port, method, path).await;
    soon("a response", stream.read_to_string(&mut text)).await.expect("text");
    text.to_ascii_lowercase()
}

#[tokio::test]
async fn responses_are_framed_as_http_requires() {
    let router = Router::new()
        .route("/remote/content", get(|| async { "content" }))
        .route("/remote/204", get(|| async { http::StatusCode::NO_CONTENT }))
        .route("/remote/304", get(|| async { http::StatusCode::NOT_MODIFIED }));
    let app = new_app();
    start(&app, serve(connect().await, app.as_str(), router)).await;
    let port = front(&app).await;

    assert!(exchange(port, "GET", "/local").await.ends_with("\r\n\r\nlocal"));
    let content = exchange(port, "GET", "/remote/content").await;
    assert!(content.starts_with("http/1.1 200 ok\r\n"), "{content}");
    assert!(
        content.contains("\r\ncontent-length: 7\r\n") && content.ends_with("\r\n\r\ncontent"),
        "{content}"
    );
    let head = exchange(port, "HEAD", "/remote/content").await;
    assert!(head.contains("\r\ncontent-length: 7\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    for (path, status) in [("/remote/204", "http/1.1 204"), ("/remote/304", "http/1.1 304")] {
        let response = exchange(port, "GET", path).await;
        assert!(response.starts_with(status) && response.ends_with("\r\n\r\n"), "{response}");
        assert!(!response.contains("content-length"), "{response}");
    }
    assert!(exchange(port, "GET", "/remote/missing").await.starts_with("http/1.1 404"));
}

#[tokio::test]
async fn a_handler_is_dropped_when_its_client_disconnects() {
    let (gate, app) = (Gate::new(), new_app());
    let handler = gate.clone();
    let service = service_fn(move |request| handler.clone().handle(request));
    start(&app, serve(connect().await, app.as_str(), service)).await;
    let port = front(&app).await;
    let stream = open(port, "GET", "/remote/").await;
    eventually("a started handler", async || gate.started() == 1).await;
    drop(stream);
    eventually("a dropped handler", async || gate.dropped() == 1).await;
}
