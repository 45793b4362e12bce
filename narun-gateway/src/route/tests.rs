use proptest::prelude::*;

use super::table::RouteTable;
use super::*;

fn error(route: &Route) -> RouteError {
    RouteTable::new([route.clone()], |_| Ok(())).expect_err(&route.to_string())
}

#[test]
fn invalid_paths_are_errors() {
    let long = format!("/{}", "a".repeat(1024));
    for path in [
        "",
        "hello",
        "*",
        "/a?b",
        "/a#b",
        "/a b",
        "/a\u{7f}",
        "/a\n",
        "/{}",
        "/{*}",
        "/{a",
        "/a}",
        "/{a/b}",
        "/{a{b}",
        "/{a*}",
        "/{a}{b}",
        "/{a}-{b}",
        "/{a}{*b}",
        "/{a}}",
        "/{a}}}",
        "/{*a}b",
        "/{*a}/",
        "/{*a}/b",
        long.as_str(),
    ] {
        let error = error(&Route::get(path, "app"));
        assert!(matches!(error, RouteError::Path { .. }), "{path}: {error}");
        assert!(error.to_string().contains(path), "{error}");
    }
}

#[test]
fn prefixes_must_end_in_a_slash() {
    for path in ["/hello", "/{a}", "/{*a}", "/a/{b}"] {
        let error = error(&Route::any(path, "app").prefix());
        assert!(matches!(error, RouteError::Path { .. }), "{path}: {error}");
    }
    for path in ["/", "/hello/", "/{a}/", "/a{b}c/"] {
        Route::any(path, "app").prefix().check().expect(path);
    }
}

#[test]
fn grpc_services_must_have_valid_names() {
    for service in ["Greeter", "helloworld.Greeter", "grpc.health.v1.Health", "_a.b_1"] {
        Route::grpc(service, "app").check().expect(service);
    }
    for service in ["", ".", "a.", ".a", "a/b", "/a", "a b", "1a", "{a}", "a.{b}", "*", "ä"] {
        let error = error(&Route::grpc(service, "app"));
        assert!(matches!(error, RouteError::Path { .. }), "{service}: {error}");
    }
}

#[test]
fn invalid_hosts_are_errors() {
    let long_label = "a".repeat(64);
    let long_name = ["a".repeat(63).as_str(); 4].join(".");
    for host in [
        "",
        ".",
        "*",
        "*.",
        "*.*.example.com",
        "a.*.example.com",
        "*example.com",
        "example..com",
        ".example.com",
        "example.com..",
        "example.com:8080",
        "user@example.com",
        "exa mple.com",
        "exämple.com",
        "::1",
        "[::1",
        "[::1]:80",
        "[example.com]",
        long_label.as_str(),
        long_name.as_str(),
    ] {
        let error = error(&Route::get("/path", "app").host(host));
        assert!(matches!(error, RouteError::Host { .. }), "{host}: {error}");
        assert!(error.to_string().contains("/path"), "{error}");
    }
}

#[test]
fn timeouts_of_zero_are_errors() {
    for route in [
        Route::get("/path", "app").timeout(Duration::ZERO),
        Route::get("/path", "app").total_timeout(Duration::ZERO),
    ] {
        assert_eq!(error(&route), RouteError::ZeroTimeout { route: "GET /path".into() });
    }
}

/// The rules for names are tested with [`App`].
#[test]
fn names_of_apps_are_checked() {
    for name in ["app", "", "a.b", "a b", "*", ">", "ä"] {
        let result = Route::get("/path", name).check();
        assert_eq!(result.is_ok(), App::new(name).is_ok(), "{name}");
    }
}

#[test]
fn a_route_is_described_by_methods_host_and_path() {
    for (route, text) in [
        (Route::get("/a", "app"), "GET /a"),
        (Route::any("/a/", "app").prefix(), "any method /a/ and below"),
        (Route::post("/{x}", "app").host("*.example.com"), "POST *.example.com/{x}"),
        (Route::get("/a", "app").methods([Method::PUT, Method::PATCH]), "PUT,PATCH /a"),
    ] {
        assert_eq!(route.to_string(), text);
    }
}

fn segment() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ab]{0,2}",
        2 => Just("{x}".to_owned()),
        1 => Just("{*x}".to_owned()),
        1 => Just("{{".to_owned()),
        1 => Just("}}".to_owned()),
        1 => "[}*a]",
    ];
    prop::collection::vec(piece, 0..3).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// A single pattern matches the same paths as in matchit, except for braces in names of parameters and segments that
    /// begin with `*`, which are errors here.
    #[test]
    fn paths_have_the_syntax_of_matchit(
        template in prop::collection::vec(segment(), 1..4),
        path in prop::collection::vec("[ab{}]{0,4}", 1..4),
    ) {
        let template = format!("/{}", template.join("/"));
        let path = format!("/{}", path.join("/"));
        let mut router = matchit::Router::new();
        let theirs = router.insert(template.as_str(), ());
        let ours = RouteTable::new([Route::get(template.as_str(), "app")], |_| Ok(()));
        let may_differ = template.contains("}}}") || template.contains("/*");
        prop_assert!(ours.is_ok() == theirs.is_ok() || may_differ, "{}", template);
        if let Ok(table) = ours {
            let found = table.find(None, &Method::GET, &path).is_some();
            prop_assert_eq!(found, router.at(&path).is_ok(), "{} {}", template, path);
        }
    }
}
