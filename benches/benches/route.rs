//! Look-ups, hits and misses, in tables of 10 to 10,000 routes.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http::Method;
use narun_gateway::{Lookup, Route, RouteTable};

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

fn lookup(criterion: &mut Criterion) {
    for count in [10, 1_000, 10_000] {
        let mut group = criterion.benchmark_group(format!("route/{count}"));
        group.throughput(Throughput::Elements(1));
        let table = RouteTable::new(routes(count), |_| Ok(())).expect("the routes are good");
        for (name, host, method, path) in requests(count) {
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher
                    .iter(|| table.lookup(black_box(host.as_deref()), &method, black_box(&path)).is_match());
            });
        }
        // Another branch each time, so that caches and branch prediction help less.
        let spread: Vec<String> = (1..count)
            .filter(|number| number % 10 > 3)
            .map(|number| format!("/v1/area{}/things{number}/12345", number / 100))
            .collect();
        let mut next = spread.iter().step_by(7).cycle();
        group.bench_function(BenchmarkId::from_parameter("spread"), |bencher| {
            bencher.iter(|| {
                let path = next.next().map_or("", String::as_str);
                assert!(matches!(table.lookup(None, &Method::GET, path), Lookup::Match(_)));
            });
        });
        group.finish();
    }
}

criterion_group!(benches, lookup);
criterion_main!(benches);
