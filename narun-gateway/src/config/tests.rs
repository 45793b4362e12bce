use http::Method;
use narun_core::App;

use super::*;
use crate::RouteError;

fn read(text: &str) -> Result<Config, String> {
    serde_yaml_ng::from_str(text).map_err(|error| error.to_string())
}

/// The route of a file with one route, which has these keys.
fn route(keys: &str) -> Route {
    read(&format!("routes:\n  - {keys}")).unwrap().routes()[0].clone()
}

const DOCUMENTED: &str = r#"
nats_url: "nats://localhost:4222"
server_addr: ":8080"
metrics_addr: ":9090"
request_timeout_seconds: 15
nats_stream: "TASK"
routes:
  - path: "/hello/"
    method: "POST"
    app: "hello"
"#;

#[test]
fn the_documented_file_is_read() {
    let config = read(DOCUMENTED).unwrap();
    assert_eq!(config.nats_url(), "nats://localhost:4222");
    assert_eq!(config.server_addr().to_string(), ":8080");
    assert_eq!(config.metrics_addr().to_string(), ":9090");
    assert_eq!(config.request_timeout(), Duration::from_secs(15));
    assert_eq!(config.nats_stream(), Some(&Namespace::new("TASK").unwrap()));
    assert_eq!(config.namespace(), Namespace::new("TASK").unwrap());
    assert_eq!(config.routes(), [Route::post("/hello/", "hello").prefix().durable()]);
}

#[test]
fn every_key_has_a_default() {
    for text in ["", "{}", "# nothing\n", "routes: []"] {
        let config = read(text).unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.nats_url(), "nats://localhost:4222");
        assert_eq!(config.server_addr().to_string(), ":8080");
        assert_eq!(config.metrics_addr().to_string(), "127.0.0.1:9090");
        assert_eq!(config.metrics_addr().candidates(), ["127.0.0.1:9090"]);
        let server = config.server_limits();
        let times = [server.keep_alive(), server.head_timeout()];
        assert_eq!(times, [75, 30].map(Duration::from_secs));
        assert_eq!((server.max_connections(), server.max_streams()), (16_384, 200));
        assert_eq!(config.request_timeout(), Duration::from_secs(15));
        assert_eq!(config.nats_stream(), None);
        assert_eq!(config.namespace(), Namespace::default());
        assert_eq!(*config.caller_field(), FieldCallerHook::default());
        assert_eq!(config.routes(), []);
    }
}

#[test]
fn streams_and_buckets_have_the_settings_of_their_keys() {
    let stream = |keys: &str| read(&format!("nats_stream: TASK\nstream: {keys}"));
    let settings = StreamSettings::new();
    assert_eq!(stream("{}").unwrap().stream_settings(), &settings);
    let keys = "{storage: memory, replicas: 3, max_messages: 1, max_bytes: 2, bodies_max_bytes: 3, \
        outcomes_max_bytes: 4, dead_letters_max_bytes: 5, max_age_seconds: 604800, duplicate_window_seconds: 60, \
        outcome_ttl_seconds: 172800, declare: false, domain: hub}";
    let expected = settings
        .storage(narun_nats::jetstream::Storage::Memory)
        .replicas(3)
        .max_messages(1)
        .max_bytes(2)
        .bodies_max_bytes(3)
        .outcomes_max_bytes(4)
        .dead_letters_max_bytes(5)
        .max_age(Duration::from_secs(7 * 86_400))
        .duplicate_window(Duration::from_secs(60))
        .outcome_ttl(Duration::from_secs(2 * 86_400))
        .declare(false)
        .domain("hub");
    assert_eq!(stream(keys).unwrap().stream_settings(), &expected);
    let domain = stream("{domain: '${NARUN_UNSET:-hub}'}").unwrap();
    assert_eq!(domain.stream_settings(), &StreamSettings::new().domain("hub"));
    for (keys, named) in [
        ("{max_bytes: 0}", "stream.max_bytes"),
        ("{max_bytes: 1 MiB}", "stream.max_bytes"),
        ("{replicas: 0}", "stream.replicas"),
        ("{storage: disk}", "stream.storage"),
        ("{outcome_ttl_seconds: 0}", "stream.outcome_ttl_seconds"),
        ("{max_byte: 1}", "max_byte"),
        ("{domain: ''}", "stream.domain"),
        ("{domain: '${NARUN_UNSET}'}", "stream.domain"),
    ] {
        let error = stream(keys).unwrap_err();
        assert!(error.contains(named) && error.contains("line 2"), "{error}");
    }
    let error = read("stream: {replicas: 3}").unwrap_err();
    assert!(error.contains("nats_stream"), "{error}");
}

#[test]
fn a_field_or_none_separates_callers() {
    let field = |name: &'static str| FieldCallerHook::new(http::HeaderName::from_static(name));
    for (text, expected) in [
        ("authorization", FieldCallerHook::default()),
        ("X-User", field("x-user")),
        ("none", FieldCallerHook::none()),
    ] {
        assert_eq!(*read(&format!("caller_field: {text}")).unwrap().caller_field(), expected);
    }
}

#[test]
fn the_limits_of_the_server_are_set_one_by_one() {
    let keys = "keep_alive_seconds: 2.5, head_timeout_seconds: 1, max_connections: 2, max_streams: 3";
    let all = read(&format!("server: {{{keys}}}")).unwrap();
    let server = all.server_limits();
    let times = [server.keep_alive(), server.head_timeout()];
    assert_eq!(times, [2500, 1000].map(Duration::from_millis));
    assert_eq!((server.max_connections(), server.max_streams()), (2, 3));
    let one = read("server: {max_streams: 3}").unwrap();
    assert_eq!((one.server_limits().max_connections(), one.server_limits().max_streams()), (16_384, 3));
    for key in ["max_connections: 0", "max_streams: 0", "keep_alive_seconds: 0", "head_timeout_seconds: -1"] {
        let error = read(&format!("server:\n  {key}")).unwrap_err();
        assert!(error.contains("server.") && error.contains("line 2"), "{error}");
    }
    assert!(read("server: {max_conections: 1}").unwrap_err().contains("unknown field `max_conections`"));
}

#[test]
fn proxies_are_trusted_only_if_they_are_listed() {
    let config = read("").unwrap();
    assert_eq!((config.forwarded(), config.trusted_proxies()), (ForwardedPolicy::Append, &[][..]));
    let config = read("forwarded: append\ntrusted_proxies: [10.0.0.0/8, '::1']").unwrap();
    let blocks: Vec<Cidr> = ["10.0.0.0/8", "::1/128"].map(|block| block.parse().unwrap()).into();
    assert_eq!((config.forwarded(), config.trusted_proxies()), (ForwardedPolicy::Append, &blocks[..]));
    assert_eq!(read("forwarded: replace").unwrap().forwarded(), ForwardedPolicy::Replace);
    assert_eq!(read("forwarded: off").unwrap().forwarded(), ForwardedPolicy::Off);
    for (text, part) in [
        ("forwarded: all", "forwarded: `all` is not `append`, `replace` or `off`"),
        ("trusted_proxies: [10.0.0.1/8]", "the address has bits after the prefix"),
        ("trusted_proxies: [localhost]", "`localhost` is not a block of addresses"),
        ("trusted_proxies: 10.0.0.0/8", "trusted_proxies"),
        ("forwarded: off\ntrusted_proxies: [10.0.0.0/8]", "only `forwarded: append` uses them"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}

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

#[test]
fn nats_is_accessed_with_the_keys_or_the_url() {
    let some = |text: &str| Some(text.to_owned());
    let user = NatsAccess { username: some("me"), password: some("a secret"), ..Default::default() };
    for (text, expected) in [
        ("", NatsAccess::default()),
        ("nats_url: nats://me:a%20secret@example.com", user.clone()),
        ("nats_username: me\nnats_password: a secret", user),
        ("nats_url: nats://t@example.com", NatsAccess { token: some("t"), ..Default::default() }),
        ("nats_token: t", NatsAccess { token: some("t"), ..Default::default() }),
        ("nats_nkey: SUA", NatsAccess { nkey: some("SUA"), ..Default::default() }),
        ("nats_creds: /a.creds", NatsAccess { creds: Some("/a.creds".into()), ..Default::default() }),
        (
            "nats_tls_ca: /ca.pem\nnats_tls_cert: /cert.pem\nnats_tls_key: /key.pem",
            NatsAccess {
                tls_ca: Some("/ca.pem".into()),
                tls_cert: Some("/cert.pem".into()),
                tls_key: Some("/key.pem".into()),
                ..Default::default()
            },
        ),
    ] {
        assert_eq!(read(text).unwrap().nats_access(), &expected, "{text}");
    }
    for (text, parts) in [
        ("nats_username: me", &["`nats_username`", "`nats_password`"][..]),
        ("nats_tls_key: k", &["`nats_tls_key`", "`nats_tls_cert`"]),
        ("nats_token: t\nnats_nkey: n", &["`nats_token`", "`nats_nkey`"]),
        ("nats_token: t\nnats_url: nats://a:b@c", &["`nats_token`", "`nats_url`"]),
        ("nats_creds: ''", &["nats_creds: ", "empty"]),
    ] {
        let error = read(text).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn environment_variables_are_replaced_in_texts() {
    // `CARGO_PKG_NAME` is a variable that cargo sets.
    let config = read(
        "nats_url: 'nats://${CARGO_PKG_NAME}'\n\
         server_addr: '${NARUN_UNSET:-127.0.0.1}:80'\n\
         routes:\n\
         - {path: '/${CARGO_PKG_NAME}/$${id}', app: '${CARGO_PKG_NAME}', method: '${NARUN_UNSET:-PUT}'}\n\
         - {path: /b, app: b, methods: ['${NARUN_UNSET:-GET}', POST]}",
    );
    let config = config.unwrap();
    assert_eq!(config.nats_url(), "nats://narun-gateway");
    assert_eq!(config.server_addr().to_string(), "127.0.0.1:80");
    assert_eq!(
        config.routes(),
        [
            Route::put("/narun-gateway/${id}", "narun-gateway"),
            Route::any("/b", "b").methods([Method::GET, Method::POST])
        ]
    );
    for (text, parts) in [
        ("nats_url: '${NARUN_UNSET}'", &["nats_url: ", "`NARUN_UNSET`"][..]),
        ("nats_token: 'a${NARUN_UNSET}'", &["nats_token: ", "`NARUN_UNSET`"]),
        ("routes: [{path: '/${NARUN_UNSET}', app: a}]", &["routes[0].path: ", "`NARUN_UNSET`"]),
        ("routes: [{path: /a, app: a, method: ['${NARUN_UNSET}']}]", &["routes[0].method", "`NARUN_UNSET`"]),
        ("request_timeout_seconds: ${CARGO_PKG_NAME}", &["request_timeout_seconds: ", "a number"]),
    ] {
        let error = read(text).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
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

#[test]
fn routes_can_be_replaced_and_other_keys_need_a_restart() {
    let running = read("routes: [{path: /a, app: a}]").unwrap();
    assert!(!read("routes: [{path: /b, app: a}]").unwrap().needs_restart(&running));
    for text in ["nats_stream: S", "nats_token: t", "request_timeout_seconds: 1", "server_addr: :1"] {
        let text = format!("{text}\nroutes: [{{path: /a, app: a}}]");
        assert!(read(&text).unwrap().needs_restart(&running), "{text}");
    }
}

#[test]
fn passwords_are_not_shown() {
    let config = read("nats_url: nats://me:secret@example.com:4222").unwrap();
    assert_eq!(config.nats_url(), "nats://example.com:4222");
    let text = format!("{config:?}");
    assert!(text.contains("example.com") && !text.contains("secret"), "{text}");
    for bad in ["http://me:secret@example.com", "nats://me:secret@example.com:port"] {
        let error = read(&format!("nats_url: {bad}")).unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn addresses_to_listen_on_have_candidates() {
    for (text, candidates) in [
        (":8080", &["[::]:8080", "0.0.0.0:8080"][..]),
        (":0", &["[::]:0", "0.0.0.0:0"]),
        ("localhost:80", &["localhost:80"]),
        ("127.0.0.1:80", &["127.0.0.1:80"]),
        ("[::1]:80", &["[::1]:80"]),
        ("0.0.0.0:08080", &["0.0.0.0:8080"]),
    ] {
        let address: ListenAddr = text.parse().unwrap();
        assert_eq!(address.candidates(), candidates);
        assert_eq!(address.to_string(), text);
    }
    for text in
        ["", "8080", ":", ":65536", ":+80", "a:b", "*.a:80", "a b:80", "::1:80", "[::1]", "http://a:80"]
    {
        assert_eq!(text.parse::<ListenAddr>(), Err(ParseListenAddrError), "{text}");
    }
}
