//! Durable requests that are done.

use std::time::Duration;

use futures::StreamExt;
use http::{HeaderValue, StatusCode};
use narun_gateway::{Gateway, Route};
use narun_nats::jetstream::header;

use crate::harness::{
    Metrics, SERVER, connect, eventually, get, grpc, new_app, new_namespace, open_tokens, post, send, settle,
    soon, spawn,
};
use crate::proxy::Proxy;
use crate::worker::{Worker, durable_builder, durable_pair, durable_pair_with, durable_route};

#[tokio::test]
async fn the_client_gets_the_response_of_its_durable_request() {
    let (gateway, mut worker) = durable_pair().await;
    let mut request = post("/jobs/1?a=b");
    request.headers_mut().insert("x-request-id", HeaderValue::from_static("mine"));
    let response = spawn(&gateway, request);
    let job = worker.job().await;
    assert_eq!((&job.request.body[..], job.request.parts.uri.query()), (&b"content"[..], Some("a=b")));
    assert_eq!(job.request.parts.headers["x-request-id"], "mine");
    // It has no time limit and no credit: no gateway has to wait for it.
    let head = &job.request.head;
    assert_eq!((head.head_timeout, head.total_timeout, head.credit), (None, None, 0));
    assert_eq!((head.attempt, head.end, &head.object, &head.outcome), (0, true, &None, &None));
    assert_eq!(job.header("Nats-Msg-Id"), Some(job.id().as_str()));
    assert_eq!(job.header("Nats-Expected-Stream"), Some(worker.namespace().as_str()));
    assert!(job.header(header::INBOX).is_some_and(|inbox| inbox.starts_with("_INBOX.")));
    assert_eq!(job.headers().len(), 3, "{:?}", job.headers());
    job.ok("done").await;
    let response = response.await.expect("no panic");
    assert_eq!((response.status, &response.body[..]), (StatusCode::OK, &b"done"[..]));
    eventually("an empty stream", async || worker.stored().await == Some(0)).await;
    assert_eq!(open_tokens(&gateway), 0);
}

#[tokio::test]
async fn a_durable_request_waits_for_a_consumer() {
    let (namespace, app) = (new_namespace(), new_app());
    let client = connect().await;
    let route = durable_route(&app);
    let gateway = durable_builder(client.clone(), &namespace).route(route).build().await.expect("a gateway");
    let response = spawn(&gateway, post("/"));
    let context = async_nats::jetstream::new(client.clone());
    eventually("a stored request", async || {
        let mut stream = context.get_stream(namespace.as_str()).await.expect("a stream");
        stream.info().await.expect("information").state.messages == 1
    })
    .await;
    let mut worker = Worker::start(client, &namespace, &app).await;
    worker.job().await.ok("at last").await;
    assert_eq!(response.await.expect("no panic").body, "at last");
}

#[tokio::test]
async fn a_late_response_is_504_with_the_id_and_the_work_is_done() {
    let (gateway, mut worker) =
        durable_pair_with(|route| route.timeout(Duration::from_secs(1)), |builder| builder).await;
    let (http, grpc) = (spawn(&gateway, post("/")), spawn(&gateway, grpc(post("/"))));
    let jobs = [worker.job().await, worker.job().await];
    let response = http.await.expect("no panic");
    assert_eq!(response.status, StatusCode::GATEWAY_TIMEOUT);
    let text = String::from_utf8_lossy(&response.body);
    assert!(jobs.iter().any(|job| text.contains(&job.id())), "{text}");
    // Its outcome is not stored, so it has no `Location`.
    assert_eq!(response.header("location"), None);
    assert_eq!(grpc.await.expect("no panic").header("grpc-status"), Some("4"));
    assert_eq!((worker.stored().await, open_tokens(&gateway)), (Some(2), 0));
    for job in jobs {
        job.ok("too late for anybody").await;
    }
    eventually("an empty stream", async || worker.stored().await == Some(0)).await;
}

#[tokio::test]
async fn a_client_that_leaves_does_not_cancel_a_durable_request() {
    let (gateway, mut worker) = durable_pair().await;
    let response = spawn(&gateway, post("/"));
    let job = worker.job().await;
    response.abort();
    eventually("a dropped exchange", async || open_tokens(&gateway) == 0).await;
    assert_eq!(worker.stored().await, Some(1));
    job.ok("for nobody").await;
    eventually("an empty stream", async || worker.stored().await == Some(0)).await;
}

#[tokio::test]
async fn the_expiry_is_sent_with_the_request() {
    let (gateway, mut worker) =
        durable_pair_with(|route| route.expiry(Duration::from_secs(90)), |builder| builder).await;
    let response = spawn(&gateway, get("/"));
    let job = worker.job().await;
    assert_eq!(job.header(header::EXPIRY), Some("90000"));
    job.ok("in time").await;
    assert_eq!(response.await.expect("no panic").body, "in time");
}

/// A gateway whose connection can be held and cut, and a worker whose connection stays.
async fn pair_with_proxy() -> (Proxy, Gateway, Worker) {
    let (namespace, app) = (new_namespace(), new_app());
    let proxy = Proxy::start(SERVER.port()).await;
    let builder = durable_builder(proxy.connect().await, &namespace);
    let gateway = builder.route(durable_route(&app)).build().await.expect("a gateway");
    (proxy, gateway, Worker::start(connect().await, &namespace, &app).await)
}

#[tokio::test]
async fn an_unconfirmed_request_is_published_again_with_the_same_id() {
    let (proxy, gateway, mut worker) = pair_with_proxy().await;
    let client = connect().await;
    let subject = format!("task.{}.{}", worker.namespace(), worker.app());
    let mut publications = client.subscribe(subject).await.expect("a subscription");
    settle(&client).await;
    proxy.hold();
    let response = spawn(&gateway, post("/"));
    let first = soon("a publication", publications.next()).await.expect("a message");
    let second = soon("another one", publications.next()).await.expect("a message");
    assert_eq!((&first.payload, &first.headers), (&second.payload, &second.headers));
    proxy.release();
    worker.job().await.ok("once").await;
    assert_eq!(response.await.expect("no panic").body, "once");
    assert!(worker.waiting_job().await.is_none(), "it is there once");
}

#[tokio::test]
async fn a_request_whose_confirmation_was_lost_is_published_again_after_the_reconnect() {
    let metrics = Metrics::install();
    let (proxy, gateway, mut worker) = pair_with_proxy().await;
    proxy.hold();
    let response = spawn(&gateway, post("/"));
    // The stream has it, but the gateway does not know that.
    let job = worker.job().await;
    proxy.cut();
    proxy.release();
    proxy.mend();
    let duplicates = || metrics.value("http_gateway_durable_publishes_total", &[("status", "duplicate")]);
    eventually("a confirmation", async || duplicates() == 1.0).await;
    assert!(metrics.value("http_gateway_retries_total", &[("path", "/")]) >= 1.0);
    job.ok("once").await;
    assert_eq!(response.await.expect("no panic").body, "once");
    assert!(worker.waiting_job().await.is_none(), "it is there once");
}

#[tokio::test]
async fn an_accepted_request_gets_its_response_after_a_reconnect() {
    let metrics = Metrics::install();
    let (proxy, gateway, mut worker) = pair_with_proxy().await;
    let response = spawn(&gateway, post("/"));
    let job = worker.job().await;
    eventually("a confirmation", async || {
        metrics.value("http_gateway_durable_publishes_total", &[("status", "accepted")]) == 1.0
    })
    .await;
    let connected = proxy.connected();
    proxy.cut();
    proxy.mend();
    eventually("a new connection", async || proxy.connected() > connected).await;
    // A client that gets a response again has its subscriptions again.
    eventually("an response", async || {
        let probe = spawn(&gateway, post("/probe"));
        while !probe.is_finished() {
            if let Some(job) = worker.waiting_job().await {
                job.ok("probe").await;
            }
        }
        probe.await.expect("no panic").body == "probe"
    })
    .await;
    job.ok("still wanted").await;
    assert_eq!(response.await.expect("no panic").body, "still wanted");
}

#[tokio::test]
async fn a_gateway_may_have_direct_and_durable_routes() {
    let (gateway, mut worker) = durable_pair().await;
    gateway
        .replace_routes([
            Route::any("/durable", worker.app()).durable(),
            Route::any("/direct", "nobody-at-all"),
        ])
        .expect("routes");
    assert_eq!(send(&gateway, get("/direct")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    let response = spawn(&gateway, get("/durable"));
    worker.job().await.ok("done").await;
    assert_eq!(response.await.expect("no panic").body, "done");
}

#[tokio::test]
async fn publishes_are_counted() {
    let metrics = Metrics::install();
    let (gateway, mut worker) = durable_pair().await;
    let subject = format!("task.{}.{}", worker.namespace(), worker.app());
    let response = spawn(&gateway, post("/"));
    worker.job().await.ok("four").await;
    response.await.expect("no panic");
    let counted =
        |name: &str, status: &str| metrics.value(name, &[("subject", subject.as_str()), ("status", status)]);
    assert_eq!(counted("http_gateway_durable_publishes_total", "accepted"), 1.0);
    assert_eq!(counted("http_gateway_nats_requests_total", "success"), 1.0);
    let bytes = |name: &str| metrics.value(name, &[("path", "/")]);
    assert_eq!(bytes("http_gateway_request_body_bytes_total"), 7.0);
    assert_eq!(bytes("http_gateway_response_body_bytes_total"), 4.0);
    assert_eq!(bytes("http_gateway_requests_in_flight"), 0.0);
}
