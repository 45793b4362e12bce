use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustix::process::Signal;

use crate::program::{Program, get, soon};

#[tokio::test]
async fn ticks_arrive_when_they_are_made_and_stop_when_the_client_leaves() {
    let mut sse = Program::start_logging("sse", ["--listen", "127.0.0.1:0", "--every-ms", "20"]);
    let server = sse.address("ready").await;
    let (status, page) = get(server, "/").await;
    assert!(status == StatusCode::OK && page.contains("new EventSource"), "{page}");

    let client = Client::builder(TokioExecutor::new()).build_http();
    let ticks = async || {
        let request = Request::get(format!("http://{server}/ticks")).body(Empty::<Bytes>::new());
        let response = client.request(request.expect("a request")).await.expect("a response");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut body = response.into_body();
        for tick in 1..=3 {
            let event = soon("a tick", body.frame()).await.expect("more").expect("well");
            let event = event.into_data().expect("data");
            assert!(event.starts_with(format!("id: {tick}\n").as_bytes()), "more than one tick: {event:?}");
        }
        body
    };
    let body = ticks().await;
    sse.logged("a client has come").await;
    drop(body);
    sse.logged("a handler was dropped").await;

    // The end of the program aborts the response, which has no end of its own.
    let body = ticks().await;
    let (ended, rest) = tokio::join!(sse.end(Signal::TERM), body.collect());
    assert!(ended.success());
    rest.expect_err("a body that breaks off");
}
