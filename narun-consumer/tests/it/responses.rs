//! Requests and responses through a real gateway.

use axum::Router;
use axum::extract::Path;
use axum::routing::{get as on_get, post as on_post};
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use narun_consumer::{Body, serve};
use tower::service_fn;

use crate::gateway::{ManualGateway, get, real, request, send};
use crate::harness::{connect, new_app, start};

fn map(fields: &[(&'static str, &'static [u8])]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static [u8])| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a value"))
    };
    HeaderMap::from_iter(fields.iter().map(field))
}

#[tokio::test]
async fn an_axum_router_responds() {
    let router = Router::new()
        .route("/users/{name}", on_get(|Path(name): Path<String>| async move { format!("Hello, {name}!") }))
        .route("/echo", on_post(|body: Bytes| async move { body }))
        .route(
            "/slow",
            on_get(|| async {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                (StatusCode::ACCEPTED, "slow")
            }),
        );
    let app = new_app();
    start(&app, serve(connect().await, app.as_str(), router)).await;
    let gateway = real(&app).await;

    let answer = send(&gateway, get("/users/narun")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.body, "Hello, narun!");
    assert_eq!(send(&gateway, request(Method::POST, "/echo", "content")).await.body, "content");
    let answer = send(&gateway, get("/slow")).await;
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::ACCEPTED, &b"slow"[..]));
    assert_eq!(send(&gateway, get("/elsewhere")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(send(&gateway, get("/echo")).await.status, StatusCode::METHOD_NOT_ALLOWED);

    let large = Request::builder()
        .method(Method::POST)
        .uri("/echo")
        .body(Body::from(Bytes::from(vec![b'x'; 60_000])))
        .expect("a request");
    assert_eq!(send(&gateway, large).await.body.len(), 60_000);

    // axum drops the content of a response to HEAD, and keeps its Content-Length.
    let answer = send(&gateway, request(Method::HEAD, "/users/narun", "")).await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
    assert_eq!(answer.headers["content-length"], "13");
}

/// Responds with the request's fields, content and trailers.
async fn echo(request: Request<Body>) -> Result<Response<Body>, std::convert::Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.expect("a whole body");
    let trailers = body.trailers().cloned();
    let mut response = Response::new(Body::from(body.to_bytes()).with_trailers(trailers));
    *response.headers_mut() = parts.headers;
    Ok(response)
}

#[tokio::test]
async fn a_plain_tower_service_sees_fields_and_trailers_as_they_were_sent() {
    let app = new_app();
    start(&app, serve(connect().await, app.as_str(), service_fn(echo))).await;
    let gateway = real(&app).await;
    let mut odd = map(&[("x-empty", b""), ("x-latin", b"caf\xe9"), ("x-tab", b"a\tb")]);
    for value in ["b", "a", "b", ""] {
        odd.append("x-many", HeaderValue::from_static(value));
    }
    let trailers = map(&[("x-checksum", b"\xff"), ("grpc-status", b"0")]);
    let mut request = Request::new(Body::from("content").with_trailers(Some(trailers.clone())));
    *request.method_mut() = Method::PUT;
    *request.headers_mut() = odd.clone();
    request.headers_mut().extend(map(&[
        ("connection", b"close, x-mine"),
        ("x-mine", b"1"),
        ("te", b"trailers"),
    ]));
    let answer = send(&gateway, request).await;
    for (name, _) in &odd {
        let values = |fields: &HeaderMap| fields.get_all(name).iter().cloned().collect::<Vec<_>>();
        assert_eq!(values(&answer.headers), values(&odd), "{name}");
    }
    for name in ["connection", "x-mine", "te"] {
        assert!(!answer.headers.contains_key(name), "{name}");
    }
    assert_eq!(answer.body, "content");
    assert_eq!(answer.trailers, Some(trailers));
}

#[tokio::test]
async fn responses_without_content_have_the_right_content_length() {
    let answer = |status: u16, content: &'static str, length: Option<&'static str>| {
        let mut response = Response::new(Body::from(content));
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        if let Some(length) = length {
            response.headers_mut().insert("content-length", HeaderValue::from_static(length));
        }
        response
    };
    let service = service_fn(move |request: Request<Body>| async move {
        Ok::<_, std::convert::Infallible>(match request.uri().path() {
            "/content" => answer(200, "content", None),
            // If the service drops the content itself, only the service knows the length.
            "/dropped" => answer(200, "", None),
            "/with-length" => answer(200, "", Some("7")),
            "/204" => answer(204, "content", None),
            "/304" => answer(304, "content", None),
            _ => answer(304, "", Some("7")),
        })
    });
    let app = new_app();
    start(&app, serve(connect().await, app.as_str(), service)).await;
    let gateway = real(&app).await;
    for (method, path, length) in [
        (Method::HEAD, "/content", Some("7")),
        (Method::HEAD, "/dropped", None),
        (Method::HEAD, "/with-length", Some("7")),
        // RFC 9110 8.6: never with 204. With 304 only the length that 200 would have had, which is unknown here.
        (Method::GET, "/204", None),
        (Method::HEAD, "/204", None),
        (Method::GET, "/304", None),
        (Method::GET, "/304-with-length", Some("7")),
    ] {
        let answer = send(&gateway, request(method.clone(), path, "")).await;
        assert!(answer.body.is_empty(), "{method} {path}");
        let announced = answer.headers.get("content-length").map(|length| length.to_str().expect("text"));
        assert_eq!(announced, length, "{method} {path}");
    }
}

#[tokio::test]
async fn a_response_names_its_instance() {
    let app = new_app();
    let serve = serve(connect().await, app.as_str(), service_fn(echo)).instance("one");
    start(&app, serve).await;
    let manual = ManualGateway::new(&app).await;
    assert_eq!(manual.get("/").await.response().await.head.instance.as_deref(), Some("one"));
}
