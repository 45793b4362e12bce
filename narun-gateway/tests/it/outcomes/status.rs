//! The status resource.

use http::{HeaderMap, Method, Request, Response, StatusCode, request::Parts};
use narun_core::{ExchangeId, FailureContext};
use narun_gateway::{Body, Failure, Gateway, GatewayBuilder, Route};
use narun_support::Server;
use tower::{ServiceBuilder, ServiceExt};

use super::site::{Site, later, located, route, with};
use crate::harness::{HttpResponse, connect, get, grpc, new_app, request, send, with_host};

const UNKNOWN: ExchangeId = ExchangeId::from_bytes([9; 16]);

fn status_path(id: &str) -> String {
    format!("/.narun/requests/{id}")
}

#[tokio::test]
async fn an_unknown_request_is_404() {
    let site = Site::new().await;
    let gateway = site.gateway().await;
    let unknown = UNKNOWN.to_string();
    for id in [unknown.as_str(), "", "x", &unknown.to_uppercase(), &format!("{unknown}/"), "%00"] {
        let response = send(&gateway, get(&status_path(id))).await;
        assert_eq!(response.status, StatusCode::NOT_FOUND, "{id}");
    }
    let response = send(&gateway, grpc(get(&status_path(&unknown)))).await;
    assert_eq!(response.header("grpc-status"), Some("5"));
    assert_eq!(site.accepted().await, 0, "the route, which takes everything, got none of them");
}

#[tokio::test]
async fn a_status_resource_is_read_only() {
    let site = Site::new().await;
    let gateway = site.gateway().await;
    for method in [Method::POST, Method::DELETE, Method::OPTIONS] {
        let response = send(&gateway, request(method, &status_path(&UNKNOWN.to_string()), "")).await;
        assert_eq!(response.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.header("allow"), Some("GET, HEAD"));
    }
}

#[tokio::test]
async fn head_gets_the_response_of_get_without_content() {
    let site = Site::new().await;
    let gateway = site.gateway().await;
    let head = |path: &str| request(Method::HEAD, path, "");
    let accepted = send(&gateway, later("respond-async")).await;
    let location = accepted.header("location").expect("a location");
    let pending = send(&gateway, head(location)).await;
    assert_eq!((pending.status, pending.header("retry-after")), (StatusCode::ACCEPTED, Some("1")));
    assert!(pending.body.is_empty());
    assert_eq!(pending.header("content-length"), Some(accepted.body.len().to_string().as_str()));

    let mut response = Response::new(Body::from("content"));
    response.headers_mut().insert("etag", http::HeaderValue::from_static("\"1\""));
    site.consumer().await.job().await.done(response).await;
    let done = send(&gateway, head(location)).await;
    assert_eq!((done.status, done.header("etag")), (StatusCode::OK, Some("\"1\"")));
    assert_eq!((done.header("content-length"), done.body.len()), (Some("7"), 0));
}

#[tokio::test]
async fn trailers_are_stored() {
    let site = Site::new().await;
    let gateway = site.gateway().await;
    let accepted = send(&gateway, later("respond-async")).await;
    let trailers = HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("\"1\""))]);
    let body = Body::from("content").with_trailers(Some(trailers.clone()));
    site.consumer().await.job().await.done(Response::new(body)).await;
    let done = send(&gateway, get(accepted.header("location").expect("a location"))).await;
    assert_eq!(done.trailers, Some(trailers));
}

#[tokio::test]
async fn a_malformed_outcome_is_502() {
    let site = Site::new().await;
    let gateway = site.gateway().await;
    site.outcomes().await;
    site.spoil(UNKNOWN).await;
    assert_eq!(send(&gateway, get(&status_path(&UNKNOWN.to_string()))).await.status, StatusCode::BAD_GATEWAY);

    // A valid record with an invalid response.
    let accepted = send(&gateway, later("respond-async")).await;
    let job = site.consumer().await.job().await;
    job.store("no frame".into()).await;
    let response = send(&gateway, get(accepted.header("location").expect("a location"))).await;
    assert_eq!(response.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn only_the_caller_of_a_request_can_read_its_outcome() {
    let site = Site::new().await;
    let caller = |parts: &Parts| Some(parts.headers.get("x-user")?.to_str().ok()?.to_owned());
    let gateway = site.gateway_with(|builder| builder.route(route()).caller(caller)).await;
    let accepted = send(&gateway, with(later("respond-async"), "x-user", "ann")).await;
    let location = accepted.header("location").expect("a location").to_owned();
    let ask = async |user: Option<&str>| {
        let get = get(&location);
        send(&gateway, if let Some(user) = user { with(get, "x-user", user) } else { get }).await.status
    };
    assert_eq!(ask(Some("ann")).await, StatusCode::ACCEPTED);
    assert_eq!(ask(Some("bob")).await, StatusCode::NOT_FOUND);
    assert_eq!(ask(None).await, StatusCode::NOT_FOUND);

    let job = site.consumer().await.job().await;
    assert_eq!(job.id(), located(&accepted));
    job.ok("for ann").await;
    assert_eq!(ask(Some("ann")).await, StatusCode::OK);
    assert_eq!(ask(Some("bob")).await, StatusCode::NOT_FOUND);
}

/// Sends a request to a gateway around an app that responds to everything.
async fn ask_layered(gateway: &Gateway, target: &str) -> HttpResponse {
    let app = tower::service_fn(async |_: Request<Body>| {
        Ok::<_, std::convert::Infallible>(Response::new(Body::from("the app")))
    });
    let service = ServiceBuilder::new().layer(gateway.layer()).service(app);
    let Ok(response) = service.oneshot(with_host(get(target))).await;
    HttpResponse::of(response).await
}

#[tokio::test]
async fn without_a_durable_route_status_is_served_only_if_its_prefix_is_set() {
    let site = Site::new().await;
    let direct = || Route::get("/direct", new_app());
    let none = site.gateway_with(|builder| builder.route(direct())).await;
    let unknown = UNKNOWN.to_string();
    assert_eq!(ask_layered(&none, &status_path(&unknown)).await.body, "the app");

    // It is served from the first durable route on, even when that is removed.
    none.replace_routes([route()]).expect("good routes");
    assert_eq!(ask_layered(&none, &status_path(&unknown)).await.status, StatusCode::NOT_FOUND);
    none.replace_routes([direct()]).expect("good routes");
    assert_eq!(ask_layered(&none, &status_path(&unknown)).await.status, StatusCode::NOT_FOUND);

    let elsewhere = |builder: GatewayBuilder| builder.route(direct()).status_prefix("/status/");
    let asked = site.gateway_with(elsewhere).await;
    assert_eq!(ask_layered(&asked, &format!("/status/{unknown}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(ask_layered(&asked, &status_path(&unknown)).await.body, "the app");
}

#[tokio::test]
async fn the_prefix_can_be_set() {
    let site = Site::new().await;
    let gateway =
        site.gateway_with(|builder| builder.route(route().host("a.example")).status_prefix("/s/")).await;
    let mut request = later("respond-async");
    *request.uri_mut() = http::Uri::from_static("http://a.example/");
    let accepted = send(&gateway, request).await;
    let location = accepted.header("location").expect("a location");
    assert!(location.starts_with("/s/"), "{location}");
    assert_eq!(send(&gateway, get(location)).await.status, StatusCode::ACCEPTED);

    let bad = Gateway::builder(connect().await).status_prefix("/no-slash");
    assert!(bad.build().await.is_err());
}

#[tokio::test]
async fn failures_of_the_status_resource_use_the_hook() {
    let site = Site::new().await;
    let hook = |failure: &Failure, _: &FailureContext| {
        Response::builder().status(418).body(Body::from(failure.to_string())).expect("a response")
    };
    let gateway = site.gateway_with(|builder| builder.route(route()).on_failure(hook)).await;
    let response = send(&gateway, get(&status_path("x"))).await;
    assert_eq!(
        (response.status, &response.body[..]),
        (StatusCode::IM_A_TEAPOT, &b"nothing is known of this request"[..])
    );
}

#[tokio::test]
async fn without_jetstream_the_response_is_503() {
    let server = Server::start().expect("a nats-server");
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let gateway = Gateway::builder(client).status_prefix("/s/").build().await.expect("a gateway");
    let response = send(&gateway, get(&format!("/s/{UNKNOWN}"))).await;
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.header("retry-after"), Some("1"));
}
