//! Handlers that fail: their requests get a response, and nothing else is affected.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use narun_consumer::{Body, BoxError, serve};
use tower::{Service, service_fn};

use crate::gateway::{get, real, send};
use crate::harness::{Metrics, connect, new_app, start};
use crate::observed::logs;

type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

fn whole(content: Body) -> Response<AnyBody> {
    Response::new(content.map_err(Into::into).boxed_unsync())
}

async fn fail(request: Request<Body>) -> Result<Response<AnyBody>, std::io::Error> {
    match request.uri().path() {
        "/error" => Err(std::io::Error::other("no")),
        "/late-error" => {
            tokio::task::yield_now().await;
            Err(std::io::Error::other("no"))
        }
        "/panic" => panic!("on purpose"),
        "/late-panic" => {
            tokio::task::yield_now().await;
            panic!("on purpose")
        }
        "/broken-body" => {
            let frames = [Ok(Frame::data(Bytes::from("half"))), Err(BoxError::from("broken"))];
            Ok(Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync()))
        }
        "/panicking-body" => {
            let frames =
                stream::poll_fn(|_| -> Poll<Option<Result<Frame<Bytes>, BoxError>>> { panic!("on purpose") });
            Ok(Response::new(StreamBody::new(frames).boxed_unsync()))
        }
        "/large-fields" => {
            let mut response = whole(Body::empty());
            for number in 0..257 {
                let name = HeaderName::try_from(format!("x-{number}")).expect("a name");
                response.headers_mut().insert(name, HeaderValue::from_static("1"));
            }
            Ok(response)
        }
        path => Ok(whole(Body::from(path.to_owned()))),
    }
}

#[tokio::test]
async fn a_handler_that_fails_is_500_and_the_consumer_continues() {
    let metrics = Metrics::install();
    let app = new_app();
    let consumer = start(&app, serve(connect().await, app.as_str(), service_fn(fail))).await;
    let gateway = real(&app).await;
    for (path, reason) in [
        ("/error", "error"),
        ("/late-error", "error"),
        ("/broken-body", "error"),
        ("/panic", "panic"),
        ("/late-panic", "panic"),
        ("/panicking-body", "panic"),
    ] {
        let labels = [("app", app.as_str()), ("reason", reason)];
        let before = metrics.value("http_consumer_handler_failures_total", &labels);
        assert_eq!(send(&gateway, get(path)).await.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        assert_eq!(metrics.value("http_consumer_handler_failures_total", &labels), before + 1.0, "{path}");
        assert_eq!(send(&gateway, get("/fine")).await.body, "/fine", "after {path}");
    }
    assert_eq!(metrics.value("http_consumer_requests_total", &[("status_class", "5xx")]), 6.0);
    assert_eq!(metrics.value("http_consumer_requests_total", &[("status_class", "2xx")]), 6.0);
    assert_eq!(metrics.value("http_consumer_requests_in_flight", &[]), 0.0);
    assert!(!consumer.is_finished());

    let mut grpc = get("/panic");
    grpc.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let answer = send(&gateway, grpc).await;
    assert_eq!(
        (answer.status, &answer.headers["grpc-status"]),
        (StatusCode::OK, &HeaderValue::from_static("13"))
    );
}

#[tokio::test]
async fn a_service_whose_readiness_fails_is_500() {
    #[derive(Clone)]
    struct Unready;

    impl Service<Request<Body>> for Unready {
        type Response = Response<Body>;
        type Error = std::io::Error;
        type Future = std::future::Ready<Result<Response<Body>, std::io::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
            Poll::Ready(Err(std::io::Error::other("no")))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            unreachable!("it is not ready")
        }
    }

    let app = new_app();
    start(&app, serve(connect().await, app.as_str(), Unready)).await;
    let gateway = real(&app).await;
    assert_eq!(send(&gateway, get("/")).await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_body_that_panics_when_it_is_dropped_is_500() {
    struct Bomb;

    impl http_body::Body for Bomb {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Ready(None)
        }
    }

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }

    let app = new_app();
    let service = service_fn(async |_: Request<Body>| Ok::<_, BoxError>(Response::new(Bomb)));
    let consumer = start(&app, serve(connect().await, app.as_str(), service)).await;
    let gateway = real(&app).await;
    for _ in 0..2 {
        assert_eq!(send(&gateway, get("/")).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert!(!consumer.is_finished());
}

#[tokio::test]
async fn a_service_is_called_once_it_is_ready() {
    /// Ready at the second poll.
    #[derive(Clone, Default)]
    struct Slow(bool);

    impl Service<Request<Body>> for Slow {
        type Response = Response<Body>;
        type Error = BoxError;
        type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            if std::mem::replace(&mut self.0, true) {
                return Poll::Ready(Ok(()));
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            assert!(self.0, "called before it was ready");
            Box::pin(async { Ok(Response::new(Body::from("ready"))) })
        }
    }

    let app = new_app();
    start(&app, serve(connect().await, app.as_str(), Slow::default())).await;
    let gateway = real(&app).await;
    assert_eq!(send(&gateway, get("/")).await.body, "ready");
}

#[tokio::test]
async fn a_response_head_that_is_too_large_is_502_and_the_reason_is_logged() {
    let logs = logs();
    let metrics = Metrics::install();
    let app = new_app();
    start(&app, serve(connect().await, app.as_str(), service_fn(fail))).await;
    let gateway = real(&app).await;
    let answer = send(&gateway, get("/large-fields")).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    let (_, event) = logs.event("the response cannot be sent", &[("app", &app)]).await;
    assert!(event["cause"].contains("256"), "{event:?}");
    assert_eq!(answer.headers["x-request-id"], event["request_id"]);
    assert_eq!(metrics.value("http_consumer_handler_failures_total", &[("reason", "too_large")]), 1.0);
}
