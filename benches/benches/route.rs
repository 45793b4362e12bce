//! What a gateway does with a request before its first poll, with 10 to 10,000 routes: it finds the route, and prepares what a
//! match needs. The time must not grow with the number of routes.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll};

use async_nats::ConnectOptions;
use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http::{Method, Request, Response};
use http_body_util::Empty;
use narun_gateway::{Gateway, GatewayService, Route};
use tokio::runtime::Runtime;
use tower::{Layer, Service};

/// The inner service, which gets the requests that match no route.
#[derive(Clone, Copy)]
struct Inner;

impl Service<Request<Empty<Bytes>>> for Inner {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Empty<Bytes>>) -> Self::Future {
        ready(Ok(Response::new(Empty::new())))
    }
}

/// Every tenth route has a host, the others differ in path and method. With a route for everything below `/v1/`, most
/// look-ups pass a more general branch.
fn routes(count: usize) -> Vec<Route> {
    let mut routes = vec![Route::delete("/v1/", "all").prefix()];
    routes.extend((1..count).map(|number| match number % 10 {
        0 => Route::get("/v1/things/{id}", "hosts").host(format!("tenant{number}.example.com")),
        1 => Route::any(format!("/files{number}/"), "files").prefix(),
        2 => Route::post(format!("/v1/area{}/things{number}", number / 100), "text"),
        3 => Route::get(format!("/v1/{{tenant}}/things{number}/{{id}}"), "two"),
        _ => Route::get(format!("/v1/area{}/things{number}/{{id}}", number / 100), "one"),
    }));
    routes
}

/// Requests for routes in the middle of the table.
fn requests(count: usize) -> Vec<(&'static str, Option<String>, Method, String)> {
    let middle = count / 2 / 10 * 10;
    let area = |number: usize| format!("/v1/area{}/things{number}", number / 100);
    vec![
        ("text", None, Method::POST, area(middle + 2)),
        ("parameter", None, Method::GET, format!("{}/12345", area(middle + 5))),
        ("two parameters", None, Method::GET, format!("/v1/acme/things{}/12345", middle + 3)),
        ("prefix", None, Method::GET, format!("/files{}/a/b/c.txt", middle + 1)),
        (
            "host",
            Some(format!("Tenant{}.example.com:8080", middle.max(10))),
            Method::GET,
            "/v1/things/12345".into(),
        ),
        ("fallback", None, Method::DELETE, area(middle + 2)),
        ("wrong method", None, Method::PATCH, area(middle + 2)),
        ("no path", None, Method::GET, "/v2/area/things/12345".into()),
    ]
}

fn request(host: Option<&str>, method: &Method, path: &str) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(host) = host {
        request = request.header(http::header::HOST, host);
    }
    request.body(Empty::new()).expect("a request")
}

/// A gateway with these routes whose client never connects: nothing is sent.
async fn gateway(routes: Vec<Route>) -> Gateway {
    let client = ConnectOptions::new().retry_on_initial_connect().connect("127.0.0.1:1").await;
    Gateway::builder(client.expect("a client")).routes(routes).build().await.expect("the routes are valid")
}

fn call(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let _entered = runtime.enter();
    for count in [10, 1_000, 10_000] {
        let mut group = criterion.benchmark_group(format!("route/{count}"));
        group.throughput(Throughput::Elements(1));
        let gateway = runtime.block_on(gateway(routes(count)));
        let mut service: GatewayService<Inner> = gateway.layer().layer(Inner);
        for (name, host, method, path) in requests(count) {
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter_batched(
                    || request(host.as_deref(), &method, &path),
                    |request| service.call(black_box(request)),
                    BatchSize::SmallInput,
                );
            });
        }
        // Another branch each time, so that caches and branch prediction help less.
        let spread: Vec<String> = (1..count)
            .filter(|number| number % 10 > 3)
            .map(|number| format!("/v1/area{}/things{number}/12345", number / 100))
            .collect();
        let mut next = spread.iter().step_by(7).cycle();
        group.bench_function(BenchmarkId::from_parameter("spread"), |bencher| {
            bencher.iter_batched(
                || request(None, &Method::GET, next.next().map_or("", String::as_str)),
                |request| service.call(black_box(request)),
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, call);
criterion_main!(benches);
