use http::HeaderValue;

use super::*;

mod model;

/// The app of a request, the allowed methods in parentheses, or an empty text if no path matches.
fn found(routes: &[Route], host: &str, method: &str, path: &str) -> String {
    // The tests put a description in the place of the app, which need not be a valid name.
    let mut apps = routes.iter().map(Route::app);
    let named = routes.iter().cloned().map(|route| Route { app: "app".to_owned(), ..route });
    let table = RouteTable::new(named, |_| Ok(apps.next().unwrap().to_owned())).unwrap();
    let host = if host.is_empty() { None } else { Some(host) };
    let method = method.parse().unwrap();
    match (table.find(host, &method, path), table.allowed(host, &method, path)) {
        (Some(app), None) => app.to_string(),
        (None, Some(allowed)) => format!("({allowed})"),
        (None, None) => String::new(),
        (Some(app), Some(allowed)) => panic!("{app} although only {allowed} are allowed"),
    }
}

/// Each line: host, method, path, and the expected result.
fn check(routes: &[Route], expected: &[(&str, &str, &str, &str)]) {
    for (host, method, path, app) in expected {
        assert_eq!(found(routes, host, method, path), *app, "{method} {host} {path}");
    }
}

#[test]
fn an_empty_table_matches_nothing() {
    check(&[], &[("", "GET", "/", ""), ("example.com", "GET", "/", "")]);
    assert!(RouteTable::<()>::default().find(None, &Method::GET, "/").is_none());
}

#[test]
fn paths_without_parameters_match_exactly() {
    let routes = [Route::get("/", "root"), Route::get("/a", "a"), Route::get("/b/", "b")];
    check(
        &routes,
        &[
            ("", "GET", "/", "root"),
            ("", "GET", "/a", "a"),
            ("", "GET", "/a/", ""),
            ("", "GET", "/A", ""),
            ("", "GET", "/aa", ""),
            ("", "GET", "/b/", "b"),
            ("", "GET", "/b", ""),
            ("", "GET", "/b/c", ""),
            ("", "GET", "//", ""),
            ("", "GET", "", ""),
            ("", "GET", "*", ""),
            ("", "GET", "a", ""),
        ],
    );
}

#[test]
fn a_grpc_route_matches_any_method_of_its_service() {
    let routes = [
        Route::grpc("a.Service", "service"),
        Route::grpc("a.Other", "other"),
        Route::post("/a.Service/Special", "special"),
    ];
    check(
        &routes,
        &[
            ("", "POST", "/a.Service/Call", "service"),
            ("", "POST", "/a.Service/Special", "special"),
            ("", "POST", "/a.Other/Call", "other"),
            ("", "GET", "/a.Service/Call", "(POST)"),
            ("", "POST", "/a.Service/", ""),
            ("", "POST", "/a.Service", ""),
            ("", "POST", "/a.Service/Call/more", ""),
            ("", "POST", "/a.service/Call", ""),
        ],
    );
}

#[test]
fn parameters_match_one_segment_that_is_not_empty() {
    let routes = [Route::get("/u/{id}", "user"), Route::get("/i/img-{id}.png", "image")];
    check(
        &routes,
        &[
            ("", "GET", "/u/1", "user"),
            ("", "GET", "/u/", ""),
            ("", "GET", "/u", ""),
            ("", "GET", "/u/1/", ""),
            ("", "GET", "/u/1/2", ""),
            ("", "GET", "/i/img-1.png", "image"),
            ("", "GET", "/i/img-.png", ""),
            ("", "GET", "/i/img-1.jpg", ""),
        ],
    );
}

#[test]
fn the_rest_is_not_empty_and_may_have_slashes() {
    let routes = [Route::get("/f/{*rest}", "files"), Route::get("/g{*rest}", "text before")];
    check(
        &routes,
        &[
            ("", "GET", "/f/a", "files"),
            ("", "GET", "/f/a/b/", "files"),
            ("", "GET", "/f//", "files"),
            ("", "GET", "/f/", ""),
            ("", "GET", "/f", ""),
            ("", "GET", "/gh/i", "text before"),
            ("", "GET", "/g", ""),
        ],
    );
}

#[test]
fn prefixes_match_the_path_itself_and_everything_below() {
    let routes = [Route::get("/a/", "a").prefix(), Route::get("/{x}/b/", "b").prefix()];
    check(
        &routes,
        &[
            ("", "GET", "/a/", "a"),
            ("", "GET", "/a/b", "a"),
            ("", "GET", "/a/b/c/", "a"),
            ("", "GET", "/a//", "a"),
            ("", "GET", "/a", ""),
            ("", "GET", "/ab", ""),
            ("", "GET", "/x/b/", "b"),
            ("", "GET", "/x/b/c", "b"),
        ],
    );
    let all = [Route::any("/", "all").prefix()];
    check(&all, &[("", "GET", "/", "all"), ("", "PUT", "//a", "all"), ("", "GET", "/a", "all")]);
}

#[test]
fn braces_are_written_twice() {
    let routes = [Route::get("/{{a}}", "braces"), Route::get("/{a}", "parameter")];
    check(&routes, &[("", "GET", "/{a}", "braces"), ("", "GET", "/a", "parameter")]);
}

#[test]
fn paths_are_matched_without_decoding() {
    let routes = [Route::get("/a", "a"), Route::get("/b%20c", "b c"), Route::get("/d/{x}", "d")];
    check(
        &routes,
        &[
            ("", "GET", "/%61", ""),
            ("", "GET", "/b%20c", "b c"),
            ("", "GET", "/d/e%2Ff", "d"),
            ("", "GET", "/d/..", "d"),
            ("", "GET", "/d/../a", ""),
            ("", "GET", "//a", ""),
        ],
    );
}

#[test]
fn no_methods_mean_any_and_others_are_compared_byte_by_byte() {
    let routes = [
        Route::any("/any", "any"),
        Route::new(["PROPFIND".parse().unwrap(), Method::PUT], "/dav", "dav"),
        Route::get("/none", "none").methods([]),
    ];
    check(
        &routes,
        &[
            ("", "GET", "/any", "any"),
            ("", "BREW", "/any", "any"),
            ("", "PROPFIND", "/dav", "dav"),
            ("", "PUT", "/dav", "dav"),
            ("", "propfind", "/dav", "(PROPFIND, PUT)"),
            ("", "DELETE", "/none", "none"),
        ],
    );
}

#[test]
fn constructors_name_their_method() {
    let routes = [
        (Route::get("/", "app"), "GET"),
        (Route::head("/", "app"), "HEAD"),
        (Route::post("/", "app"), "POST"),
        (Route::put("/", "app"), "PUT"),
        (Route::patch("/", "app"), "PATCH"),
        (Route::delete("/", "app"), "DELETE"),
        (Route::options("/", "app"), "OPTIONS"),
        (Route::trace("/", "app"), "TRACE"),
    ];
    for (route, method) in routes {
        assert_eq!(route.methods, [method.parse::<Method>().unwrap()]);
    }
}

#[test]
fn get_takes_head_unless_a_route_of_the_path_names_it() {
    let routes = [
        Route::get("/a", "get"),
        Route::any("/a", "any"),
        Route::get("/b", "get"),
        Route::head("/b", "head"),
        Route::get("/c/{x}", "get"),
        Route::head("/{*rest}", "head of all"),
    ];
    check(
        &routes,
        &[
            ("", "HEAD", "/a", "get"),
            ("", "HEAD", "/b", "head"),
            ("", "GET", "/b", "get"),
            ("", "HEAD", "/c/d", "get"),
            ("", "HEAD", "/d", "head of all"),
        ],
    );
}

#[test]
fn the_more_specific_path_wins_in_any_order() {
    let mut routes = vec![
        Route::get("/a/b", "text"),
        Route::get("/a/bc{x}", "long before"),
        Route::get("/a/b{x}d", "before and after"),
        Route::get("/a/b{x}", "before"),
        Route::get("/a/{x}cd", "long after"),
        Route::get("/a/{x}d", "after"),
        Route::get("/a/{x}", "parameter"),
        Route::get("/a/{*x}", "rest"),
        Route::get("/{x}/b", "later text"),
        Route::get("/", "all").prefix(),
    ];
    for _ in 0..2 {
        check(
            &routes,
            &[
                ("", "GET", "/a/b", "text"),
                ("", "GET", "/a/bcd", "long before"),
                ("", "GET", "/a/bed", "before and after"),
                ("", "GET", "/a/be", "before"),
                ("", "GET", "/a/acd", "long after"),
                ("", "GET", "/a/aed", "after"),
                ("", "GET", "/a/a", "parameter"),
                ("", "GET", "/a/a/a", "rest"),
                ("", "GET", "/c/b", "later text"),
                ("", "GET", "/c/c", "all"),
                ("", "GET", "/a/", "all"),
            ],
        );
        routes.reverse();
    }
}

#[test]
fn a_more_specific_branch_without_a_match_is_left_again() {
    let routes =
        [Route::get("/a/{x}/c/d", "deep"), Route::get("/{y}/b/c", "wide"), Route::get("/{*rest}", "rest")];
    check(
        &routes,
        &[
            ("", "GET", "/a/b/c/d", "deep"),
            ("", "GET", "/a/b/c", "wide"),
            ("", "GET", "/a/b/c/e", "rest"),
            ("", "GET", "/a", "rest"),
        ],
    );
}

#[test]
fn a_route_with_another_method_hides_no_route() {
    let routes = [
        Route::post("/a/b", "post"),
        Route::any("/a/b", "any"),
        Route::put("/a/c", "put"),
        Route::get("/a/{x}", "get"),
        Route::delete("/", "delete").prefix(),
    ];
    check(
        &routes,
        &[
            ("", "POST", "/a/b", "post"),
            ("", "PUT", "/a/b", "any"),
            ("", "GET", "/a/b", "any"),
            ("", "GET", "/a/c", "get"),
            ("", "DELETE", "/a/c", "delete"),
            ("", "POST", "/a/c", "(DELETE, GET, HEAD, PUT)"),
        ],
    );
}

#[test]
fn the_more_specific_host_wins_before_the_path() {
    let routes = [
        Route::get("/a", "none"),
        Route::get("/{*x}", "example.com").host("example.com"),
        Route::get("/{*x}", "below example.com").host("*.example.com"),
        Route::get("/{*x}", "below b.example.com").host("*.b.example.com"),
        Route::get("/{*x}", "a.b.example.com").host("a.b.example.com"),
    ];
    check(
        &routes,
        &[
            ("example.com", "GET", "/a", "example.com"),
            ("c.example.com", "GET", "/a", "below example.com"),
            ("b.example.com", "GET", "/a", "below example.com"),
            ("c.d.example.com", "GET", "/a", "below example.com"),
            ("c.b.example.com", "GET", "/a", "below b.example.com"),
            ("a.b.example.com", "GET", "/a", "a.b.example.com"),
            ("d.a.b.example.com", "GET", "/a", "below b.example.com"),
            ("anexample.com", "GET", "/a", "none"),
            (".example.com", "GET", "/a", "none"),
            ("com", "GET", "/a", "none"),
            ("", "GET", "/a", "none"),
            ("", "GET", "/b", ""),
        ],
    );
}

#[test]
fn a_less_specific_host_is_tried_if_nothing_matches() {
    let routes = [
        Route::get("/a", "exact").host("x.example.com"),
        Route::post("/a", "below").host("*.example.com"),
        Route::get("/b", "below").host("*.example.com"),
        Route::put("/a", "none"),
        Route::get("/c", "none"),
    ];
    check(
        &routes,
        &[
            ("x.example.com", "GET", "/a", "exact"),
            ("x.example.com", "POST", "/a", "below"),
            ("x.example.com", "PUT", "/a", "none"),
            ("x.example.com", "GET", "/b", "below"),
            ("x.example.com", "GET", "/c", "none"),
            ("x.example.com", "GET", "/d", ""),
            ("x.example.com", "DELETE", "/a", "(GET, HEAD, POST, PUT)"),
            ("y.example.com", "DELETE", "/a", "(POST, PUT)"),
        ],
    );
}

#[test]
fn case_port_and_trailing_dot_of_hosts_are_ignored() {
    let routes = [
        Route::get("/", "name").host("Example.COM."),
        Route::get("/", "below").host("*.Example.com"),
        Route::get("/", "v4").host("127.0.0.1"),
        Route::get("/", "v6").host("[2001:DB8:0::1]"),
    ];
    let long = format!("{}.example.com", "a.".repeat(150));
    check(
        &routes,
        &[
            ("example.com", "GET", "/", "name"),
            ("EXAMPLE.com:8080", "GET", "/", "name"),
            ("example.com.", "GET", "/", "name"),
            ("example.com.:80", "GET", "/", "name"),
            ("example.com:", "GET", "/", "name"),
            ("A.example.com:80", "GET", "/", "below"),
            ("127.0.0.1:80", "GET", "/", "v4"),
            ("[2001:db8::1]", "GET", "/", "v6"),
            ("[2001:DB8::1]:80", "GET", "/", "v6"),
            ("[2001:0db8:0:0:0:0:0.0.0.1]", "GET", "/", "v6"),
            ("[2001:db8::2]", "GET", "/", ""),
            ("[2001:db8::1", "GET", "/", ""),
            ("[", "GET", "/", ""),
            (":80", "GET", "/", ""),
            ("ä.example.com", "GET", "/", "below"),
            (long.as_str(), "GET", "/", ""),
        ],
    );
}

#[test]
fn routes_are_found_by_path_and_method_alone() {
    let routes = [
        Route::get("/a", "1").host("a.example"),
        Route::any("/a", "2").host("*.b.example"),
        Route::new([Method::GET, Method::PUT], "/b/", "3").host("a.example").prefix(),
        Route::get("/c", "4"),
    ];
    let table = RouteTable::new(routes, |route| Ok(route.app().to_owned())).unwrap();
    for (method, path, expected) in [
        (Method::GET, "/a", "1"),
        (Method::POST, "/a", "2"),
        (Method::PUT, "/b/x", "3"),
        (Method::GET, "/c", "4"),
        (Method::POST, "/b/x", ""),
        (Method::GET, "/d", ""),
    ] {
        let found = table.find_for_any_host(&method, path).map_or("", |app| app.as_str());
        assert_eq!(found, expected, "{method} {path}");
    }
}

#[test]
fn the_same_host_path_and_method_twice_is_a_conflict() {
    let conflicts = [
        (Route::get("/a", "1"), Route::get("/a", "2")),
        (Route::any("/a", "1"), Route::any("/a", "2")),
        (Route::get("/{x}/b", "1"), Route::get("/{y}/b", "2")),
        (Route::get("/{*x}", "1"), Route::get("/{*y}", "2")),
        (Route::get("/a/", "1").prefix(), Route::get("/a/", "2")),
        (Route::get("/a/", "1").prefix(), Route::get("/a/{*x}", "2")),
        (Route::get("/a", "1").host("A.b"), Route::get("/a", "2").host("a.b.")),
        (Route::get("/a", "1").host("*.A.b"), Route::get("/a", "2").host("*.a.b")),
        (
            Route::new([Method::GET, Method::PUT], "/a", "1"),
            Route::new([Method::POST, Method::PUT], "/a", "2"),
        ),
    ];
    for (one, other) in conflicts {
        let error = RouteTable::new([Route::get("/z", "3"), one.clone(), other.clone()], |_| Ok(()));
        let conflict = RouteError::Conflict { route: other.to_string(), with: one.to_string() };
        assert_eq!(error.unwrap_err(), conflict);
    }
}

#[test]
fn routes_that_differ_in_specificity_do_not_conflict() {
    let pairs = [
        (Route::get("/a", "1"), Route::any("/a", "2")),
        (Route::get("/a", "1"), Route::head("/a", "2")),
        (Route::get("/a", "1"), Route::get("/a", "2").host("a.b")),
        (Route::get("/a", "1").host("a.b"), Route::get("/a", "2").host("*.b")),
        (Route::get("/{x}", "1"), Route::get("/{*x}", "2")),
        (Route::get("/{x}/b", "1"), Route::get("/a/{x}", "2")),
        (Route::get("/a{x}", "1"), Route::get("/{x}a", "2")),
        (Route::get("/a/", "1"), Route::get("/a", "2")),
        (Route::get("/a/", "1").prefix(), Route::post("/a/", "2").prefix()),
    ];
    for (one, other) in pairs {
        RouteTable::new([one, other], |_| Ok(())).unwrap();
    }
    RouteTable::new([Route::new([Method::GET, Method::GET], "/twice", "1")], |_| Ok(())).unwrap();
}

#[test]
fn allowed_methods_are_sorted_and_unique_and_include_head() {
    let table = RouteTable::new(
        [Route::post("/a", "1"), Route::get("/a", "2"), Route::post("/{x}", "3")],
        |_| Ok(()),
    );
    let allowed = table.unwrap().allowed(None, &Method::PUT, "/a").expect("the path has routes");
    assert_eq!(allowed.to_value(), HeaderValue::from_static("GET, HEAD, POST"));
}

#[test]
fn routes_are_prepared_in_order_if_all_are_valid() {
    let mut seen = Vec::new();
    let routes = [Route::get("/a", "a"), Route::get("/b", "b").prefix()];
    RouteTable::new(routes, |route| {
        seen.push(route.app().to_owned());
        Ok(())
    })
    .unwrap_err();
    assert!(seen.is_empty());

    let routes = [Route::get("/b", "b"), Route::get("/a", "a")];
    let table = RouteTable::new(routes, |route| Ok(route.app().to_owned())).unwrap();
    assert!(table.iter().map(|app| app.as_str()).eq(["b", "a"]));

    let refused = RouteError::ZeroTimeout { route: "GET /a".into() };
    let result = RouteTable::new([Route::get("/a", "a")], |_| Err::<(), _>(refused.clone()));
    assert_eq!(result.unwrap_err(), refused);
}
