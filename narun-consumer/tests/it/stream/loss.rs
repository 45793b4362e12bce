//! Lost frames: a body arrives complete or is aborted.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use narun_consumer::{Body, BoxError, serve};
use narun_core::frame::Frame;
use narun_gateway::{Gateway, Route};
use tower::{ServiceExt, service_fn};

use super::large::{check, content};
use super::{AnyBody, boxed, watched};
use crate::harness::{SERVER, eventually, new_app, soon, start};
use crate::lossy::Lossy;

const SIZE: u64 = 3_000_000;

/// A gateway and a consumer on connections that can lose frames.
struct Site {
    app: String,
    gateway: Gateway,
    from_gateway: Lossy,
    from_consumer: Lossy,
}

impl Site {
    async fn start() -> Self {
        let service = service_fn(async |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            let body = request.into_body();
            Ok::<_, BoxError>(Response::new(match path.as_str() {
                "/up" => boxed(Body::from(check(body).await?.to_string())),
                _ => boxed(content(SIZE)),
            }))
        });
        Self::with(service).await
    }

    async fn with<S>(service: S) -> Self
    where
        S: tower::Service<Request<Body>, Response = Response<AnyBody>, Error = BoxError>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
    {
        let app = new_app();
        let (from_gateway, from_consumer) =
            (Lossy::start(SERVER.port()).await, Lossy::start(SERVER.port()).await);
        start(&app, serve(from_consumer.connect().await, app.as_str(), service)).await;
        let gateway = Gateway::builder(from_gateway.connect().await).route(Route::any("/", &app).prefix());
        Self { app, gateway: gateway.build().await.expect("a gateway"), from_gateway, from_consumer }
    }

    /// The size of a download; an error with the status if it failed, or if it was aborted.
    async fn download(&self, method: Method) -> Result<u64, Option<StatusCode>> {
        let request = Request::builder()
            .method(method)
            .uri("/down")
            .header("host", "narun.example")
            .body(Body::empty())
            .expect("a request");
        let Ok(response) = soon("a response", self.gateway.service().oneshot(request)).await;
        match response.status() {
            StatusCode::OK => soon("a body", check(response.into_body())).await.map_err(|_| None),
            status => Err(Some(status)),
        }
    }

    /// The response to an upload.
    async fn upload(&self) -> (StatusCode, Bytes) {
        let request =
            Request::post("/up").header("host", "narun.example").body(content(SIZE)).expect("a request");
        let Ok(response) = soon("a response", self.gateway.service().oneshot(request)).await;
        let status = response.status();
        let body = soon("a body", response.into_body().collect()).await;
        (status, body.expect("a whole body").to_bytes())
    }
}

/// Returns `true` for the DATA with this number.
fn nth(mut number: usize) -> impl FnMut(&Frame) -> bool + Send + 'static {
    move |frame| {
        number -= usize::from(matches!(frame, Frame::Data(_)));
        number == 0
    }
}

fn is_end(frame: &Frame) -> bool {
    matches!(frame, Frame::Data(data) if data.end)
}

#[tokio::test]
async fn a_lost_part_of_a_response_aborts_it() {
    let site = Site::start().await;
    assert_eq!(site.download(Method::GET).await, Ok(SIZE));
    for number in [1, 2, 20] {
        site.from_consumer.lose(nth(number));
        assert_eq!(site.download(Method::GET).await, Err(None), "{number}");
        assert!(site.from_consumer.has_lost());
    }
    // No later frame shows the loss.
    site.from_consumer.lose(is_end);
    assert_eq!(site.download(Method::GET).await, Err(None));
    assert!(site.from_consumer.has_lost());
    assert_eq!(site.download(Method::GET).await, Ok(SIZE));
}

#[tokio::test]
async fn a_lost_response_head_is_never_half_a_response() {
    let site = Site::start().await;
    let lose = || site.from_consumer.lose(|frame| matches!(frame, Frame::Response(_)));
    // Retried, as the method is idempotent.
    lose();
    assert_eq!(site.download(Method::GET).await, Ok(SIZE));
    assert!(site.from_consumer.has_lost());
    let route = Route::any("/", &site.app).prefix().timeout(Duration::from_millis(500));
    site.gateway.replace_routes([route]).expect("routes");
    lose();
    assert_eq!(site.download(Method::POST).await, Err(Some(StatusCode::GATEWAY_TIMEOUT)));
    assert!(site.from_consumer.has_lost());
}

#[tokio::test]
async fn a_lost_part_of_a_request_is_502() {
    let site = Site::start().await;
    let whole = (StatusCode::OK, Bytes::from(SIZE.to_string()));
    assert_eq!(site.upload().await, whole);
    for number in [1, 2, 20] {
        site.from_gateway.lose(nth(number));
        assert_eq!(site.upload().await.0, StatusCode::BAD_GATEWAY, "{number}");
        assert!(site.from_gateway.has_lost());
    }
    site.from_gateway.lose(is_end);
    assert_eq!(site.upload().await.0, StatusCode::BAD_GATEWAY);
    assert!(site.from_gateway.has_lost());
    assert_eq!(site.upload().await, whole);
}

#[tokio::test]
async fn lost_credit_is_requested_again() {
    let site = Site::start().await;
    site.from_gateway.lose(|frame| matches!(frame, Frame::Credit(_)));
    assert_eq!(site.download(Method::GET).await, Ok(SIZE));
    assert!(site.from_gateway.has_lost());

    let whole = (StatusCode::OK, Bytes::from(SIZE.to_string()));
    site.from_consumer.lose(|frame| matches!(frame, Frame::Accept(_)));
    assert_eq!(site.upload().await, whole);
    assert!(site.from_consumer.has_lost());
    site.from_consumer.lose(|frame| matches!(frame, Frame::Credit(_)));
    assert_eq!(site.upload().await, whole);
    assert!(site.from_consumer.has_lost());
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_if_its_reset_is_lost() {
    let (body, watch) = watched(content(u64::MAX));
    let site = Site::with(super::answering(Response::new(boxed(body)))).await;
    let request =
        Request::get("/down").header("host", "narun.example").body(Body::empty()).expect("a request");
    let Ok(response) = soon("a response", site.gateway.service().oneshot(request)).await;
    site.from_gateway.lose(|frame| matches!(frame, Frame::Reset(_)));
    drop(response);
    eventually("a dropped body", async || watch.is_dropped()).await;
    assert!(site.from_gateway.has_lost());
}
