//! The oldest supported server.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use narun_consumer::serve;
use narun_gateway::{Gateway, Route};
use narun_support::{Binary, Server};
use tokio::sync::Notify;
use tower::service_fn;

use crate::gate::Gate;
use crate::gateway::{get, send};
use crate::harness::{eventually, listens, soon};

#[tokio::test]
async fn a_gateway_and_a_consumer_work_over_2_10() {
    let binary = Binary::version("2.10.26").expect("a nats-server");
    let server = Server::builder().binary(binary).start().expect("a nats-server");
    let connect = async || async_nats::connect(server.url()).await.expect("a connection");
    let gate = Gate::new();
    let (handler, signal) = (gate.clone(), Arc::new(Notify::new()));
    let service = service_fn(move |request| handler.clone().handle(request));
    let shutdown = {
        let signal = signal.clone();
        async move { signal.notified().await }
    };
    let serve = serve(connect().await, "app", service).with_graceful_shutdown(shutdown);
    let consumer = tokio::spawn(serve.into_future());
    listens(&connect().await, "app").await;
    let gateway = Gateway::builder(connect().await)
        .route(Route::any("/", "app").prefix())
        .timeout(Duration::from_secs(5))
        .build()
        .await
        .expect("a gateway");

    gate.open(1);
    assert_eq!(send(&gateway, get("/quick")).await.body, "/quick");

    // Both sides notice peers that are gone with the server's help.
    let left = tokio::time::timeout(Duration::from_millis(400), send(&gateway, get("/left"))).await;
    assert!(left.is_err());
    eventually("a dropped handler", async || gate.dropped() == 1).await;

    signal.notify_one();
    soon("the end", consumer).await.expect("no panic").expect("a graceful end");
    assert_eq!(send(&gateway, get("/nobody")).await.status, StatusCode::SERVICE_UNAVAILABLE);
}
