//! The status resource itself.

use http::{HeaderMap, Method, Request, Response, StatusCode, request::Parts};
use narun_core::{ExchangeId, FailureContext};
use narun_gateway::{Body, Failure, Gateway, GatewayBuilder, Route};
use narun_support::Server;
use tower::{ServiceBuilder, ServiceExt};

use super::site::{Site, later, located, route, with};
use crate::harness::{Answer, connect, get, grpc, new_app, request, send};

const UNKNOWN: ExchangeId = ExchangeId::from_bytes([9; 16]);

fn place(id: &str) -> String {
    format!("/.narun/requests/{id}")
}

#[tokio::test]
async fn what_is_not_known_is_404() {
    let site = Site::new().await;
    let gateway = site.gateway().await;
    let unknown = UNKNOWN.to_string();
    for id in [unknown.as_str(), "", "x", &unknown.to_uppercase(), &format!("{unknown}/"), "%00"] {
        let answer = send(&gateway, get(&place(id))).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}");
    }
    let answer = send(&gateway, grpc(get(&place(&unknown)))).await;
    assert_eq!(answer.header("grpc-status"), Some("5"));
    assert_eq!(site.accepted().await, 0, "the route, which takes everything, got none of them");
}

#[tokio::test]
async fn it_is_read_only() {
    let site = Site::new().await;
    let gateway = site.gateway().await;
    for method in [Method::POST, Method::DELETE, Method::OPTIONS] {
        let answer = send(&gateway, request(method, &place(&UNKNOWN.to_string()), "")).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    }
}

#[tokio::test]
async fn head_gets_what_get_gets_but_content() {
    let site = Site::new().await;
    let gateway = site.gateway().await;
    let head = |place: &str| request(Method::HEAD, place, "");
    let accepted = send(&gateway, later("respond-async")).await;
    let place = accepted.header("location").expect("a location");
    let pending = send(&gateway, head(place)).await;
    assert_eq!((pending.status, pending.header("retry-after")), (StatusCode::ACCEPTED, Some("1")));
    assert!(pending.body.is_empty());
    assert_eq!(pending.header("content-length"), Some(accepted.body.len().to_string().as_str()));

    let mut response = Response::new(Body::from("content"));
    response.headers_mut().insert("etag", http::HeaderValue::from_static("\"1\""));
    site.consumer().await.job().await.done(response).await;
    let done = send(&gateway, head(place)).await;
    assert_eq!((done.status, done.header("etag")), (StatusCode::OK, Some("\"1\"")));
    assert_eq!((done.header("content-length"), done.body.len()), (Some("7"), 0));
}

#[tokio::test]
async fn trailers_are_kept() {
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
async fn what_is_kept_malformed_is_502() {
    let site = Site::new().await;
    let gateway = site.gateway().await;
    site.outcomes().await;
    site.spoil(UNKNOWN).await;
    assert_eq!(send(&gateway, get(&place(&UNKNOWN.to_string()))).await.status, StatusCode::BAD_GATEWAY);

    // A record, with a response that is none.
    let accepted = send(&gateway, later("respond-async")).await;
    let job = site.consumer().await.job().await;
    job.store("no frame".into()).await;
    let answer = send(&gateway, get(accepted.header("location").expect("a location"))).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn only_the_caller_is_told() {
    let site = Site::new().await;
    let caller = |parts: &Parts| Some(parts.headers.get("x-user")?.to_str().ok()?.to_owned());
    let gateway = site.gateway_with(|builder| builder.route(route()).caller(caller)).await;
    let accepted = send(&gateway, with(later("respond-async"), "x-user", "ann")).await;
    let place = accepted.header("location").expect("a location").to_owned();
    let ask = async |user: Option<&str>| {
        let get = get(&place);
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

/// Behind the gateway as a layer, an app that answers everything.
async fn ask_layered(gateway: &Gateway, target: &str) -> Answer {
    let app = tower::service_fn(async |_: Request<Body>| {
        Ok::<_, std::convert::Infallible>(Response::new(Body::from("the app")))
    });
    let service = ServiceBuilder::new().layer(gateway.layer()).service(app);
    let Ok(response) = service.oneshot(get(target)).await;
    Answer::of(response).await
}

#[tokio::test]
async fn without_a_durable_route_there_is_none_unless_asked_for() {
    let site = Site::new().await;
    let direct = || Route::get("/direct", new_app());
    let none = site.gateway_with(|builder| builder.route(direct())).await;
    let unknown = UNKNOWN.to_string();
    assert_eq!(ask_layered(&none, &place(&unknown)).await.body, "the app");

    // With the first durable route there is one, and stays when that goes.
    none.replace_routes([route()]).expect("good routes");
    assert_eq!(ask_layered(&none, &place(&unknown)).await.status, StatusCode::NOT_FOUND);
    none.replace_routes([direct()]).expect("good routes");
    assert_eq!(ask_layered(&none, &place(&unknown)).await.status, StatusCode::NOT_FOUND);

    let elsewhere = |builder: GatewayBuilder| builder.route(direct()).status_prefix("/status/");
    let asked = site.gateway_with(elsewhere).await;
    assert_eq!(ask_layered(&asked, &format!("/status/{unknown}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(ask_layered(&asked, &place(&unknown)).await.body, "the app");
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
async fn failures_go_through_the_hook() {
    let site = Site::new().await;
    let hook = |failure: &Failure, _: &FailureContext| {
        Response::builder().status(418).body(Body::from(failure.to_string())).expect("a response")
    };
    let gateway = site.gateway_with(|builder| builder.route(route()).on_failure(hook)).await;
    let answer = send(&gateway, get(&place("x"))).await;
    assert_eq!(
        (answer.status, &answer.body[..]),
        (StatusCode::IM_A_TEAPOT, &b"nothing is known of this request"[..])
    );
}

#[tokio::test]
async fn without_jetstream_it_is_503() {
    let server = Server::start().expect("a nats-server");
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let gateway = Gateway::builder(client).status_prefix("/s/").build().await.expect("a gateway");
    let answer = send(&gateway, get(&format!("/s/{UNKNOWN}"))).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), Some("1"));
}
