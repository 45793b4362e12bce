//! Programs that are terminated while requests are in flight, as in a rollout.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use narun_support::Server;
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::program::{Program, ask, eventually, soon};

const COUNT: usize = 8;

/// What handlers wait for, and how many have begun.
#[derive(Clone)]
struct Handlers {
    released: watch::Receiver<bool>,
    begun: watch::Sender<usize>,
}

impl Handlers {
    async fn wait(mut self) {
        self.begun.send_modify(|begun| *begun += 1);
        self.released.wait_for(|released| *released).await.expect("the test runs");
    }

    fn router(self) -> Router {
        let (whole, down, up) = (self.clone(), self.clone(), self);
        let down = move || async move {
            let first = futures::stream::once(async { Ok::<_, Infallible>("first ") });
            let second = futures::stream::once(async move {
                down.wait().await;
                Ok("second")
            });
            Body::from_stream(first.chain(second))
        };
        let up = move |body: Body| async move {
            let mut pieces = body.into_data_stream();
            let first = pieces.next().await.expect("a piece").expect("it is whole");
            up.begun.send_modify(|begun| *begun += 1);
            let rest: Vec<_> = pieces.map(|piece| piece.expect("it is whole")).collect().await;
            [vec![first], rest].concat().concat()
        };
        let whole = move || async move {
            whole.wait().await;
            "whole"
        };
        Router::new()
            .route("/hello/whole", get(whole))
            .route("/hello/down", get(down))
            .route("/hello/up", post(up))
    }
}

/// Sends a request, and receives the whole response.
async fn send(server: SocketAddr, path: &str, body: Body) -> (StatusCode, Bytes) {
    let method = if path == "/hello/up" { "POST" } else { "GET" };
    let request = Request::builder().method(method).uri(format!("http://{server}{path}")).body(body);
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response: Response<_> = client.request(request.expect("a request")).await.expect("a response");
    let (parts, body) = response.into_parts();
    (parts.status, body.collect().await.expect("a whole body").to_bytes())
}

fn streamed() -> (UnboundedSender<&'static str>, Body) {
    let (source, pieces) = unbounded();
    let pieces = pieces.map(|piece: &'static str| Ok::<_, Infallible>(Frame::data(Bytes::from(piece))));
    (source, Body::new(StreamBody::new(pieces)))
}

#[tokio::test]
async fn all_requests_in_flight_get_their_responses_when_the_gateway_is_terminated() {
    let nats = Server::start().expect("a nats-server");
    let (release, released) = watch::channel(false);
    let (begun, mut begins) = watch::channel(0);
    let router = Handlers { released, begun }.router();
    let client = async_nats::connect(nats.url()).await.expect("a connection");
    let (ready, is_ready) = oneshot::channel();
    let serving = narun_consumer::serve(client, "hello", router).on_ready(move || {
        let _ = ready.send(());
    });
    let consumer = tokio::spawn(serving.into_future());
    soon("a consumer", is_ready).await.expect("it is ready");
    let variables = [("NATS_URL", nats.url()), ("LISTEN", "127.0.0.1:0")];
    let mut gateway = Program::start_with("smallest_gateway", [""; 0], &variables);
    let server = gateway.address("ready").await;

    let mut requests = JoinSet::new();
    let (source, body) = streamed();
    requests.spawn(send(server, "/hello/up", body));
    source.unbounded_send("first ").expect("the body is read");
    for _ in 0..COUNT {
        requests.spawn(send(server, "/hello/whole", Body::empty()));
        requests.spawn(send(server, "/hello/down", Body::empty()));
    }
    soon("handlers", begins.wait_for(|begun| *begun == 2 * COUNT + 1)).await.expect("the consumer runs");

    let ending = gateway.end(Signal::TERM);
    let finish = async {
        eventually("no more connections", async || TcpStream::connect(server).await.is_err()).await;
        release.send_replace(true);
        source.unbounded_send("second").expect("the body is read");
        drop(source);
        let mut responses = soon("responses", requests.join_all()).await;
        responses.sort();
        responses
    };
    let (ended, responses) = tokio::join!(ending, finish);
    assert!(ended.success());
    let expected = [("first second", COUNT + 1), ("whole", COUNT)];
    let expected = expected.map(|(body, count)| vec![(StatusCode::OK, Bytes::from(body)); count]).concat();
    assert_eq!(responses, expected);
    consumer.abort();
}

#[tokio::test]
async fn all_requests_in_flight_get_their_responses_when_the_consumer_is_terminated() {
    let nats = Server::start().expect("a nats-server");
    let arguments = ["--nats-url", nats.url(), "--delay-ms", "1000", "--metrics", "127.0.0.1:0"];
    let mut hello = Program::start("hello", arguments);
    let metrics = hello.address("metrics").await;
    hello.line("ready").await;
    let variables = [("NATS_URL", nats.url()), ("LISTEN", "127.0.0.1:0")];
    let mut gateway = Program::start_with("smallest_gateway", [""; 0], &variables);
    let server = gateway.address("ready").await;

    let mut requests = JoinSet::new();
    (0..COUNT).for_each(|_| drop(requests.spawn(ask(server))));
    let in_flight = format!(r#"http_consumer_requests_in_flight{{app="hello"}} {COUNT}"#);
    eventually("requests in flight", async || {
        crate::program::get(metrics, "/metrics").await.1.contains(&in_flight)
    })
    .await;
    assert!(hello.end(Signal::TERM).await.success());
    soon("responses", requests.join_all()).await;
    assert!(gateway.end(Signal::TERM).await.success());
}
