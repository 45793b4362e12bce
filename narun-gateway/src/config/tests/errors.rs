use super::*;

#[test]
fn errors_name_the_key_and_the_place() {
    // A file, and texts that the error must contain.
    let cases: &[(&str, &[&str])] = &[
        ("\n- a", &["a map", "line 2 column 1"]),
        ("routes: []\nnats_uri: a", &["unknown field `nats_uri`", "`nats_url`", "line 2 column 1"]),
        ("namespace: S", &["unknown field `namespace`"]),
        ("nats_url: ''", &["nats_url: ", "line 1 column 11"]),
        ("nats_url: http://a", &["nats_url: ", "http", "line 1 column 11"]),
        ("nats_url: 'nats://a:b'", &["nats_url: ", "line 1 column 11"]),
        ("nats_url: [a]", &["nats_url: ", "the URL of a NATS server", "line 1 column 11"]),
        ("nats_url:", &["nats_url: ", "the URL of a NATS server", "line 1"]),
        ("server_addr: '8080'", &["server_addr: ", "`8080`", "`:port` or `host:port`", "line 1 column 14"]),
        ("server_addr: 8080", &["server_addr: ", "`:port` or `host:port`", "line 1 column 14"]),
        ("\nmetrics_addr: ':http'", &["metrics_addr: ", "`:http`", "line 2 column 15"]),
        ("request_timeout_seconds: 0", &["request_timeout_seconds: ", "`0`", "over 0", "line 1 column 26"]),
        ("request_timeout_seconds: -1", &["request_timeout_seconds: ", "`-1`", "line 1 column 26"]),
        ("request_timeout_seconds: 86401", &["request_timeout_seconds: ", "86400", "line 1 column 26"]),
        ("request_timeout_seconds: 1e-30", &["request_timeout_seconds: ", "over 0", "line 1 column 26"]),
        ("request_timeout_seconds: 86400.1", &["request_timeout_seconds: ", "line 1 column 26"]),
        ("request_timeout_seconds: .inf", &["request_timeout_seconds: ", "line 1 column 26"]),
        ("request_timeout_seconds: .nan", &["request_timeout_seconds: ", "line 1 column 26"]),
        ("request_timeout_seconds: 15s", &["request_timeout_seconds: ", "15s", "line 1 column 26"]),
        ("request_timeout_seconds: '15'", &["request_timeout_seconds: ", "line 1 column 26"]),
        ("nats_stream: [a]", &["nats_stream: ", "the name of a stream", "line 1 column 14"]),
        ("caller_field: 'a b'", &["caller_field: ", "`a b`", "line 1 column 15"]),
        ("caller_field:", &["caller_field: ", "the name of a field, or `none`", "line 1"]),
        ("\nnats_url: nats://a\nnats_url: nats://b", &["duplicate", "`nats_url`", "line 2"]),
        ("routes: 5", &["routes: ", "a list of routes", "line 1 column 9"]),
        ("routes:\n- 5", &["routes[0]: ", "`path` and `app`", "line 2 column 3"]),
        ("routes:\n- path: /a", &["routes[0]: ", "missing field `app`", "line 2 column 3"]),
        ("routes:\n- app: a", &["routes[0]: ", "missing field `path`", "line 2 column 3"]),
        (
            "routes:\n- path: /a\n  app: a\n  hosts: a",
            &["routes[0]: ", "unknown field `hosts`", "line 4 column 3"],
        ),
        ("routes:\n- app: a\n  path: a", &["routes[0].path: ", "`a` does not start", "line 3 column 9"]),
        ("routes:\n- app: a\n  path: '/{a'", &["routes[0].path: ", "`/{a`", "line 3 column 9"]),
        ("routes:\n- app: a\n  path: '/a b'", &["routes[0].path: ", "`/a b`", "line 3 column 9"]),
        ("routes:\n- app: a\n  path: '/{*a}/'", &["routes[0].path: ", "`/{*a}/`", "line 3 column 9"]),
        ("routes:\n- path: /a\n  app: [a]", &["routes[0].app: ", "the name of an app", "line 3 column 8"]),
        (
            "routes:\n- {path: /a, app: a}\n- path: /b\n  app: b\n  method: post",
            &["routes[1].method: ", "`post`", "`POST`", "line 5 column 11"],
        ),
        (
            "routes:\n- path: /b\n  app: b\n  method: 'P ST'",
            &["routes[0].method: ", "`P ST` is not a method", "line 4 column 11"],
        ),
        ("routes:\n- path: /b\n  app: b\n  method: ''", &["routes[0].method: ", "line 4 column 11"]),
        ("routes:\n- path: /b\n  app: b\n  method:", &["routes[0].method: ", "a method or a list"]),
        ("routes:\n- path: /b\n  app: b\n  method: 5", &["routes[0].method: ", "a method or a list"]),
        ("routes:\n- path: /b\n  app: b\n  method: '*'", &["routes[0].method: ", "leave out", "line 4"]),
        ("routes:\n- path: /b\n  app: b\n  method: Any", &["routes[0].method: ", "leave out", "line 4"]),
        ("routes:\n- path: /b\n  app: b\n  methods: []", &["routes[0].methods: ", "empty", "line 4"]),
        (
            "routes:\n- path: /b\n  app: b\n  methods: [GET,\n    get]",
            &["routes[0].methods[1]: ", "`get`", "line 5 column 5"],
        ),
        (
            "routes:\n- path: /b\n  app: b\n  method: GET\n  methods: [PUT]",
            &["routes[0]: ", "`method` and `methods` are both given", "line 2 column 3"],
        ),
        (
            "routes:\n- app: b\n  grpc: /a.Service",
            &["routes[0].grpc: ", "`/a.Service`", "`package.Service`", "line 3 column 9"],
        ),
        (
            "routes:\n- app: b\n  grpc: a.Service\n  path: /a",
            &["routes[0]: ", "`path` and `grpc` are both given", "line 2 column 3"],
        ),
        (
            "routes:\n- app: b\n  grpc: a.Service\n  method: GET",
            &["routes[0]: ", "leave out `method`", "line 2 column 3"],
        ),
        (
            "routes:\n- path: /b\n  app: b\n  host: b:80",
            &["routes[0].host: ", "`b:80` has a port", "line 4 column 9"],
        ),
        (
            "routes:\n- path: /b\n  app: b\n  timeout_seconds: 0",
            &["routes[0].timeout_seconds: ", "over 0", "line 4 column 20"],
        ),
        (
            "routes:\n- path: /b\n  app: b\n  delivery: async",
            &["routes[0].delivery: ", "`async`", "`direct`", "`durable`", "line 4 column 13"],
        ),
        (
            "routes:\n- path: /b\n  app: b\n  respond_async: 1",
            &["routes[0].respond_async: ", "line 4 column 18"],
        ),
        (
            "routes:\n- path: /b\n  app: b\n  expiry_seconds: 0",
            &["routes[0].expiry_seconds: ", "over 0", "line 4 column 19"],
        ),
        (
            "routes:\n- path: /b\n  app: b\n  max_body_bytes: -1",
            &["routes[0].max_body_bytes: ", "line 4 column 19"],
        ),
        (
            "routes:\n- path: /b\n  app: b\n  delivery: durable",
            &["routes[0].delivery: ", "`durable`", "`nats_stream`"],
        ),
        (
            "routes:\n- {path: '/{x}', app: a}\n- path: '/{y}'\n  app: b",
            &[
                "routes[1]: ",
                "`path`",
                "`any method /{y}`",
                "routes[0], `any method /{x}`",
                "line 3 column 3",
            ],
        ),
    ];
    for (text, parts) in cases {
        let error = read(text).expect_err(text);
        for part in *parts {
            assert!(error.contains(part), "no `{part}` in the error of\n{text}\n{error}");
        }
    }
}

/// The rules for names are tested with [`App`] and [`Namespace`].
#[test]
fn names_are_checked() {
    for name in ["a", "", "a.b", "a b", "*", ">", "ä"] {
        let text = format!("routes:\n- path: /a\n  app: '{name}'");
        match (read(&text), App::new(name)) {
            (Ok(_), Ok(_)) => {}
            (Err(error), Err(_)) => {
                assert!(error.contains("routes[0].app: ") && error.contains("line 3 column 8"), "{error}");
            }
            (read, checked) => panic!("{read:?} {checked:?}"),
        }
        match (read(&format!("nats_stream: '{name}'")), Namespace::new(name)) {
            (Ok(_), Ok(_)) => {}
            (Err(error), Err(_)) => {
                assert!(error.contains("nats_stream: ") && error.contains("line 1 column 14"), "{error}");
            }
            (read, checked) => panic!("{read:?} {checked:?}"),
        }
    }
}
