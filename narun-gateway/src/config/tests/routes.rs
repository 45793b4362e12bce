use super::*;

#[test]
fn a_route_has_the_settings_of_its_keys() {
    for (keys, expected) in [
        ("{path: /a, app: a}", Route::any("/a", "a")),
        ("{path: /a/, app: a}", Route::any("/a/", "a").prefix()),
        ("{path: /, app: a}", Route::any("/", "a").prefix()),
        ("{path: '/a/{x}/{*y}', app: a}", Route::any("/a/{x}/{*y}", "a")),
        ("{path: /a, app: a, method: GET}", Route::get("/a", "a")),
        ("{path: /a, app: a, methods: GET}", Route::get("/a", "a")),
        ("{path: /a, app: a, method: [GET]}", Route::get("/a", "a")),
        (
            "{path: /a, app: a, methods: [PUT, PROPFIND]}",
            Route::any("/a", "a").methods([Method::PUT, "PROPFIND".parse().unwrap()]),
        ),
        ("{path: /a, app: a, host: '*.example.com'}", Route::any("/a", "a").host("*.example.com")),
        ("{path: /a, app: a, timeout_seconds: 60}", Route::any("/a", "a").timeout(Duration::from_secs(60))),
        (
            "{path: /a, app: a, timeout_seconds: 0.25}",
            Route::any("/a", "a").timeout(Duration::from_millis(250)),
        ),
        ("{path: /a, app: a, delivery: direct}", Route::any("/a", "a")),
        ("{grpc: a.Service, app: a}", Route::grpc("a.Service", "a")),
        (
            "{grpc: a.Service, app: a, host: example.com, timeout_seconds: 5, max_body_bytes: 9}",
            Route::grpc("a.Service", "a").host("example.com").timeout(Duration::from_secs(5)).max_body(9),
        ),
        ("{path: /a, app: a, max_body_bytes: 1000}", Route::any("/a", "a").max_body(1000)),
    ] {
        assert_eq!(route(keys), expected, "{keys}");
    }
}

#[test]
fn routes_are_durable_by_default_if_there_is_a_stream() {
    let (a, b, c) = (Route::any("/a", "a"), Route::any("/b", "b"), Route::any("/c", "c"));
    let routes = "routes: [{path: /a, app: a}, {path: /b, app: b, delivery: direct}";
    for (text, expected) in [
        (format!("{routes}]"), &[a.clone(), b.clone()][..]),
        (format!("nats_stream: S\n{routes}]"), &[a.clone().durable(), b.clone()]),
        (
            format!("{routes}, {{path: /c, app: c, delivery: durable}}]\nnats_stream: S"),
            &[a.durable(), b, c.durable()],
        ),
    ] {
        assert_eq!(read(&text).unwrap().routes(), expected, "{text}");
    }
}

#[test]
fn a_grpc_route_is_durable_only_if_its_key_says_so() {
    let service = Route::grpc("a.Service", "a");
    for (key, expected) in [
        ("", service.clone()),
        (", delivery: direct", service.clone()),
        (", delivery: durable", service.durable()),
    ] {
        let text = format!("nats_stream: S\nroutes: [{{grpc: a.Service, app: a{key}}}]");
        assert_eq!(read(&text).unwrap().routes(), [expected], "{text}");
    }
}

#[test]
fn a_durable_route_has_the_settings_of_its_keys() {
    for (keys, expected) in [
        ("respond_async: true", Route::any("/a", "a").respond_async()),
        ("respond_async: false", Route::any("/a", "a").durable()),
        ("expiry_seconds: 0.5", Route::any("/a", "a").durable().expiry(Duration::from_millis(500))),
        ("max_body_bytes: 5", Route::any("/a", "a").durable().max_body(5)),
    ] {
        let text = format!("routes: [{{path: /a, app: a, {keys}}}]\nnats_stream: S");
        assert_eq!(read(&text).unwrap().routes(), [expected], "{text}");
    }
    // Keys of durable routes are errors on others.
    for key in ["respond_async: true", "expiry_seconds: 1"] {
        let (name, _) = key.split_once(':').unwrap();
        for text in [
            format!("routes: [{{path: /a, app: a, {key}}}]"),
            format!("nats_stream: S\nroutes: [{{path: /a, app: a, delivery: direct, {key}}}]"),
            format!("nats_stream: S\nroutes: [{{grpc: a.Service, app: a, {key}}}]"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(&format!("routes[0].{name}: ")), "{text}\n{error}");
        }
    }
}

#[test]
fn a_path_that_no_request_has_is_an_error_with_a_hint() {
    for (path, hint) in [
        ("/a/:id", "{id}"),
        ("/b/*", "{*rest}"),
        ("/b/*rest", "{*rest}"),
        ("/a/../b", "without"),
        ("/a/./b", "without"),
        ("/a/..", "without"),
        ("/a/%2e%2E/b", "without"),
        ("/caf\u{e9}", "%C3%A9"),
        ("/a%2", "%25"),
        ("/a%zz/", "%25"),
    ] {
        let error = read(&format!("routes:\n- path: '{path}'\n  app: a\n")).unwrap_err();
        assert!(error.starts_with("routes[0].path: ") && error.contains(hint), "{error}");
        let route = Route { prefix: path.ends_with('/'), ..Route::any(path, "a") };
        let checked = route.check();
        assert!(matches!(checked, Err(RouteError::Path { problem, .. }) if problem.contains(hint)), "{path}");
    }
    for path in ["/a:b", "/a*b", "/v1/a:run", "/a.b", "/...", "/.well-known", "/caf%C3%A9", "/a/b..", "/%25"]
    {
        read(&format!("routes: [{{path: '{path}', app: a}}]")).unwrap();
    }
}
