//! A server that is killed under load and restarts.

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use http::{Method, Request, Response, StatusCode};
use narun_consumer::{Body, serve};
use narun_core::Limits;
use narun_core::frame::Frame;
use narun_gateway::{Gateway, Route};
use narun_support::Server;
use tokio::task::JoinSet;
use tower::service_fn;

use crate::gateway::{request, send};
use crate::harness::{eventually, listens, settle, soon};

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

/// Consumers connect later than the gateway, as clients of other languages do by default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_flight_are_completed_after_a_restart_with_a_slow_client() {
    const SLOW: Duration = Duration::from_secs(2);
    for (gateway_delay, consumer_delay) in [(Duration::ZERO, SLOW), (SLOW, Duration::ZERO)] {
        let mut server = Server::start().expect("a nats-server");
        let url = server.url().to_owned();
        let connect = async |delay: Duration| {
            let options = async_nats::ConnectOptions::new();
            // The delay of the first attempt is that of the connection itself.
            let first = AtomicBool::new(true);
            let delay = move |_| if first.swap(false, Ordering::SeqCst) { Duration::ZERO } else { delay };
            options.reconnect_delay_callback(delay).connect(&url).await.expect("a connection")
        };
        let (killed, is_killed) = tokio::sync::watch::channel(false);
        let service = service_fn(move |request: Request<Body>| {
            let mut is_killed = is_killed.clone();
            async move {
                // Some handlers end while the connection is lost, others later.
                let millis: u64 = request.uri().path()[1..].parse().expect("a number");
                is_killed.wait_for(|killed| *killed).await.expect("the test runs");
                tokio::time::sleep(Duration::from_millis(millis)).await;
                Ok::<_, Infallible>(Response::new(Body::from("done")))
            }
        });
        let consumer = tokio::spawn(serve(connect(consumer_delay).await, "app", service).into_future());
        listens(&connect(Duration::ZERO).await, "app").await;
        let route = Route::any("/{*path}", "app");
        let gateway = Gateway::builder(connect(gateway_delay).await).route(route).build().await;
        let gateway = gateway.expect("a gateway");
        let observer = connect(SLOW).await;
        let mut frames = observer.subscribe("_INBOX.>").await.expect("a subscription");
        settle(&observer).await;
        let mut clients = JoinSet::new();
        for number in 0..40 {
            let gateway = gateway.clone();
            let method = if number % 2 == 0 { Method::GET } else { Method::POST };
            let path = format!("/{}", 100 * number);
            clients.spawn(async move { send(&gateway, request(method, &path, "")).await.status });
        }
        // From the first WORKING on, the gateway knows its consumer.
        let mut taken = HashSet::new();
        while taken.len() < 40 {
            let message = soon("a frame", frames.next()).await.expect("a subscription");
            if matches!(Frame::decode(&message.payload, &Limits::default()), Ok(Frame::Working(_))) {
                taken.insert(message.subject.to_string());
            }
        }
        server.kill().expect("a dead server");
        killed.send_replace(true);
        server.restart().expect("the server again");
        let statuses = soon("responses", clients.join_all()).await;
        assert!(statuses.iter().all(|status| *status == StatusCode::OK), "{statuses:?}");
        let gateway = format!("{gateway:?}");
        assert!(gateway.contains("open_tokens: 0"), "{gateway}");
        consumer.abort();
    }
}
