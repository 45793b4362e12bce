//! Streamed bodies through a real gateway.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use narun_consumer::{Body, BoxError, serve};
use tower::{ServiceExt, service_fn};

use super::large::{SIZE, check, content};
use super::{AnyBody, Watch, boxed, fed, trailers, watched};
use crate::gateway::real;
use crate::harness::{connect, eventually, new_app, soon, start};

/// A gateway, and a consumer with this service.
async fn pair<S, F>(service: S) -> narun_gateway::Gateway
where
    S: FnMut(Request<Body>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<AnyBody>, BoxError>> + Send + 'static,
{
    let app = new_app();
    start(&app, serve(connect().await, app.as_str(), service_fn(service))).await;
    real(&app).await
}

async fn post<B>(
    gateway: &narun_gateway::Gateway,
    path: &str,
    body: B,
) -> Response<impl http_body::Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + use<B>>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let request = Request::post(path).header("host", "narun.example").body(boxed(body)).expect("a request");
    let Ok(response) = soon("a response", gateway.service().oneshot(request)).await;
    response
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_are_transferred_both_ways() {
    let gateway = pair(async |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let body = request.into_body();
        Ok(Response::new(match path.as_str() {
            "/up" => boxed(Body::from(check(body).await?.to_string())),
            "/down" => boxed(content(SIZE)),
            _ => boxed(body),
        }))
    })
    .await;
    let response = post(&gateway, "/up", content(SIZE)).await;
    assert_eq!(
        response.into_body().collect().await.map_err(Into::into).expect("whole").to_bytes(),
        SIZE.to_string()
    );
    let response = post(&gateway, "/down", Body::empty()).await;
    assert_eq!(soon("a body", check(response.into_body())).await.expect("whole"), SIZE);
    let response = post(&gateway, "/echo", content(SIZE)).await;
    assert_eq!(soon("a body", check(response.into_body())).await.expect("whole"), SIZE);
}

/// A service that responds with a body that the test feeds.
async fn feeding() -> (narun_gateway::Gateway, super::Source, Watch) {
    let (source, body, watch) = fed();
    let body = std::sync::Arc::new(std::sync::Mutex::new(Some(body)));
    let gateway = pair(move |_| {
        let body = body.lock().expect("no panic").take();
        std::future::ready(body.map(|body| Response::new(boxed(body))).ok_or_else(|| "only once".into()))
    })
    .await;
    (gateway, source, watch)
}

#[tokio::test]
async fn each_event_arrives_as_it_is_sent() {
    let (gateway, source, _) = feeding().await;
    let mut body = post(&gateway, "/", Body::empty()).await.into_body();
    for tick in ["1", "2", "3"] {
        source.data(tick);
        let frame = soon("a tick", body.frame()).await.expect("more").map_err(Into::into).expect("no error");
        assert_eq!(frame.into_data().expect("data"), tick);
    }
    source.trailers(trailers());
    let rest = soon("the end", body.collect()).await.map_err(Into::into).expect("whole");
    assert_eq!(rest.trailers(), Some(&trailers()));
}

#[tokio::test]
async fn request_and_response_bodies_alternate() {
    let gateway = pair(async |request: Request<Body>| Ok(Response::new(boxed(request.into_body())))).await;
    let (source, body, _) = fed();
    source.data("0");
    let mut answers = post(&gateway, "/", body).await.into_body();
    for turn in 0..20 {
        let mut answer = Bytes::new();
        while answer.is_empty() {
            let frame = soon("an answer", answers.frame()).await.expect("more").map_err(Into::into);
            answer = frame.expect("no error").into_data().expect("data");
        }
        assert_eq!(answer, turn.to_string());
        source.data((turn + 1).to_string());
    }
    drop(source);
    let rest = soon("the end", answers.collect()).await.map_err(Into::into).expect("whole");
    assert_eq!(rest.to_bytes(), "20");
}

#[tokio::test]
async fn handler_and_body_are_dropped_when_the_client_leaves() {
    let (gateway, source, watch) = feeding().await;
    source.data("1");
    let body = post(&gateway, "/", Body::empty()).await.into_body();
    assert!(!watch.is_dropped());
    drop(body);
    eventually("a dropped body", async || watch.is_dropped()).await;
}

#[tokio::test]
async fn a_body_that_fails_aborts_the_response() {
    let (gateway, source, _) = feeding().await;
    source.data("1");
    let response = post(&gateway, "/", Body::empty()).await;
    assert_eq!(response.status(), StatusCode::OK);
    source.fail();
    assert!(soon("an end", response.into_body().collect()).await.is_err());
}

#[tokio::test]
async fn a_client_that_does_not_read_pauses_the_handler() {
    let (body, watch) = watched(content(u64::MAX));
    let body = std::sync::Arc::new(std::sync::Mutex::new(Some(body)));
    let gateway = pair(move |_| {
        let body = body.lock().expect("no panic").take();
        std::future::ready(body.map(|body| Response::new(boxed(body))).ok_or_else(|| "only once".into()))
    })
    .await;
    let mut response = post(&gateway, "/", Body::empty()).await.into_body();
    eventually("a full window", async || watch.yielded() >= 1 << 20).await;
    assert!(watch.yielded() <= (1 << 20) + 300_000, "{}", watch.yielded());
    // Once the client reads, the body continues.
    let mut read = 0;
    while read < 3 << 20 {
        let frame =
            soon("a part", response.frame()).await.expect("more").map_err(Into::into).expect("no error");
        read += frame.into_data().expect("data").len();
    }
    assert!(watch.yielded() > 3 << 20);
}
