//! A server that is killed under load and restarts.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use narun_consumer::{Body, serve};
use narun_gateway::{Gateway, Route};
use narun_support::Server;
use tokio::task::JoinSet;
use tower::service_fn;

use crate::gateway::{request, send};
use crate::harness::{eventually, listens, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_gets_a_response_while_the_server_restarts() {
    let mut server = Server::start().expect("a nats-server");
    let url = server.url().to_owned();
    let connect = async || async_nats::connect(&url).await.expect("a connection");
    let mut consumers = Vec::new();
    for _ in 0..2 {
        let service = service_fn(async |_: Request<Body>| {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok::<_, Infallible>(Response::new(Body::from("done")))
        });
        consumers.push(tokio::spawn(serve(connect().await, "app", service).into_future()));
    }
    listens(&connect().await, "app").await;
    let gateway = Gateway::builder(connect().await)
        .route(Route::any("/", "app"))
        .timeout(Duration::from_secs(8))
        .build()
        .await
        .expect("a gateway");

    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for number in 0..16 {
        let (gateway, stop, answered) = (gateway.clone(), stop.clone(), answered.clone());
        let method = if number % 2 == 0 { Method::GET } else { Method::POST };
        clients.spawn(async move {
            let mut statuses = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                let answer = send(&gateway, request(method.clone(), "/", "")).await;
                statuses.push(answer.status);
                if answer.status == StatusCode::OK {
                    answered.fetch_add(1, Ordering::SeqCst);
                } else {
                    // Without a connection, the response comes at once.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            statuses
        });
    }
    for _ in 0..2 {
        let before = answered.load(Ordering::SeqCst);
        eventually("answers", async || answered.load(Ordering::SeqCst) > before + 200).await;
        server.kill().expect("a dead server");
        server.restart().expect("the server again");
    }
    let before = answered.load(Ordering::SeqCst);
    eventually("answers", async || answered.load(Ordering::SeqCst) > before + 200).await;
    stop.store(true, Ordering::SeqCst);

    let mut counts = BTreeMap::<u16, usize>::new();
    for status in soon("the clients' end", clients.join_all()).await.concat() {
        *counts.entry(status.as_u16()).or_default() += 1;
    }
    assert!(counts.keys().all(|status| [200, 502, 503].contains(status)), "{counts:?}");
    assert!(consumers.iter().all(|consumer| !consumer.is_finished()));
    assert!(format!("{gateway:?}").contains("open_tokens: 0"), "{gateway:?}");
}
