//! Gateways that lose their connection to NATS, or never had one.

use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions};
use http::StatusCode;
use narun_core::frame::Frame;
use narun_gateway::Gateway;
use narun_support::Server;

use crate::consumer::Consumer;
use crate::harness::{
    SERVER, builder, connect, eventually, get, grpc, new_app, open_tokens, post, send, spawn,
};
use crate::proxy::Proxy;

/// A gateway whose connection can be cut, and a consumer whose connection stays.
async fn pair() -> (Proxy, Gateway, Consumer) {
    let app = new_app();
    let proxy = Proxy::start(SERVER.port()).await;
    let gateway = builder(proxy.connect().await, &app).build().await.expect("a gateway");
    let consumer = Consumer::start(connect().await, &app).await;
    (proxy, gateway, consumer)
}

/// Plays the consumer until the gateway gets a response again.
async fn serves_again(gateway: &Gateway, consumer: &mut Consumer) {
    eventually("an response", async || {
        let response = spawn(gateway, get("/again"));
        while !response.is_finished() {
            if let Some(exchange) = consumer.waiting_request() {
                exchange.ok("again").await;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        response.await.expect("no panic").body == "again"
    })
    .await;
}

#[tokio::test]
async fn waiting_requests_get_502_and_later_ones_503_at_once() {
    let (proxy, gateway, mut consumer) = pair().await;
    let waiting = [spawn(&gateway, post("/")), spawn(&gateway, grpc(post("/")))];
    for _ in &waiting {
        consumer.request().await;
    }
    let begin = Instant::now();
    proxy.cut();
    // The gateway notices the disconnect after a moment. Then it refuses each request at once.
    eventually("a refusal", async || {
        let asked = Instant::now();
        let response = send(&gateway, post("/")).await;
        response.status == StatusCode::SERVICE_UNAVAILABLE && asked.elapsed() < Duration::from_secs(1)
    })
    .await;
    let response = send(&gateway, grpc(get("/"))).await;
    assert_eq!((response.status, response.header("grpc-status")), (StatusCode::OK, Some("14")));

    let [http, grpc] = waiting;
    assert_eq!(http.await.expect("no panic").status, StatusCode::BAD_GATEWAY);
    let response = grpc.await.expect("no panic");
    assert_eq!((response.status, response.header("grpc-status")), (StatusCode::OK, Some("14")));
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert_eq!(open_tokens(&gateway), 0);

    proxy.mend();
    serves_again(&gateway, &mut consumer).await;
}

#[tokio::test]
async fn an_idempotent_request_is_sent_again_after_the_reconnect() {
    let (proxy, gateway, mut consumer) = pair().await;
    let response = spawn(&gateway, get("/"));
    let first = consumer.request().await;
    proxy.cut();
    proxy.mend();
    let second = consumer.request().await;
    assert_eq!((first.request.head.attempt, second.request.head.attempt), (0, 1));
    assert_eq!(first.request.head.id, second.request.head.id);
    second.ok("second").await;
    assert_eq!(response.await.expect("no panic").body, "second");
}

#[tokio::test]
async fn other_requests_continue_if_their_consumer_responds_to_a_probe() {
    let (proxy, gateway, mut consumer) = pair().await;
    let (lively, silent) = (spawn(&gateway, post("/lively")), spawn(&gateway, post("/silent")));
    let mut exchanges = [consumer.request().await, consumer.request().await];
    exchanges.sort_by_key(|exchange| exchange.request.parts.uri.path().to_owned());
    let [exchange, other] = &exchanges;
    exchange.working().await;
    other.working().await;
    // A PROBE is sent a second after WORKING, so WORKING has arrived.
    for _ in &exchanges {
        assert!(matches!(consumer.frame().await.0, Frame::Probe));
    }
    proxy.cut();
    proxy.mend();
    let begin = Instant::now();
    loop {
        let (frame, reply) = consumer.frame().await;
        assert!(matches!(frame, Frame::Probe), "{frame:?}");
        if reply.as_ref() == Some(&exchange.gateway) {
            break;
        }
    }
    exchange.alive().await;
    assert_eq!(silent.await.expect("no panic").status, StatusCode::BAD_GATEWAY);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    exchange.ok("at last").await;
    assert_eq!(lively.await.expect("no panic").body, "at last");
    consumer.settle(consumer.client()).await;
    assert!(consumer.waiting_request().is_none(), "neither was sent again");
}

#[tokio::test]
async fn a_consumer_that_reconnects_after_the_gateway_is_found() {
    for (request, taken) in [(post("/"), true), (get("/"), false)] {
        let (proxy, gateway, mut consumer) = pair().await;
        let response = spawn(&gateway, request);
        let exchange = consumer.request().await;
        if taken {
            exchange.working().await;
            // A PROBE is sent a second after WORKING, so WORKING has arrived.
            assert!(matches!(consumer.frame().await.0, Frame::Probe));
        }
        proxy.cut();
        let away = consumer.lose_connection().await;
        let missed = proxy.no_responders();
        proxy.mend();
        // The message that the gateway sends after its reconnect has no subscriber.
        eventually("a message to nobody", async || proxy.no_responders() > missed).await;
        let mut consumer = away.back().await;
        if taken {
            assert!(matches!(consumer.frame().await.0, Frame::Probe));
            exchange.alive().await;
            exchange.ok("at last").await;
        } else {
            consumer.request().await.ok("at last").await;
        }
        assert_eq!(response.await.expect("no panic").body, "at last");
        assert_eq!(open_tokens(&gateway), 0);
    }
}

#[tokio::test]
async fn a_gateway_survives_a_restart_of_the_server() {
    let mut server = Server::start().expect("a nats-server");
    let app = new_app();
    let gateway = builder(connect_to(server.url()).await, &app).build().await.expect("a gateway");
    let mut consumer = Consumer::start(connect_to(server.url()).await, &app).await;
    let waiting = spawn(&gateway, post("/"));
    consumer.request().await;

    server.kill().expect("a dead server");
    assert_eq!(waiting.await.expect("no panic").status, StatusCode::BAD_GATEWAY);
    for request in [get("/"), post("/")] {
        let begin = Instant::now();
        assert_eq!(send(&gateway, request).await.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
    server.restart().expect("the server again");
    serves_again(&gateway, &mut consumer).await;
    assert_eq!(open_tokens(&gateway), 0);
}

#[tokio::test]
async fn a_gateway_is_built_without_a_server() {
    let mut server = Server::start().expect("a nats-server");
    server.kill().expect("a dead server");
    let app = new_app();
    let client = ConnectOptions::new()
        .retry_on_initial_connect()
        .reconnect_delay_callback(|_| Duration::from_millis(10))
        .connect(server.url())
        .await
        .expect("a client");
    let gateway = builder(client, &app).build().await.expect("a gateway");
    let begin = Instant::now();
    assert_eq!(send(&gateway, get("/")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(begin.elapsed() < Duration::from_secs(20));

    server.restart().expect("the server");
    let mut consumer = Consumer::start(connect_to(server.url()).await, &app).await;
    serves_again(&gateway, &mut consumer).await;
}

async fn connect_to(url: &str) -> Client {
    ConnectOptions::new()
        .reconnect_delay_callback(|_| Duration::from_millis(10))
        .connect(url)
        .await
        .expect("a connection")
}
