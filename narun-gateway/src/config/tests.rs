mod errors;
mod nats;
mod routes;

use http::Method;
use narun_core::App;

use super::*;
use crate::settings::Settings;
use crate::{Linger, RouteError};

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
fn the_limits_of_the_gateway_are_set_one_by_one() {
    let settings = |keys: &str| {
        let mut settings = Settings::default();
        read(&format!("limits: {{{keys}}}")).unwrap().limits().apply(&mut settings);
        settings
    };
    let all = settings(
        "window_bytes: 100000, budget_bytes: 200000, body_budget_bytes: 3000000, body_bytes_per_second: 0, \
         body_timeout_seconds: 4, reconnect_grace_seconds: 0.5, linger_seconds: 6, linger_pause_seconds: 7, \
         linger_bytes: 8, linger_bodies: 0",
    );
    assert_eq!((all.window, all.budget), (100_000, 200_000));
    assert_eq!((all.body_budget, all.body_rate), (3_000_000, 0));
    assert_eq!([all.body_timeout, all.reconnect_grace], [4000, 500].map(Duration::from_millis));
    let linger = Linger::new().time(Duration::from_secs(6)).pause(Duration::from_secs(7));
    assert_eq!(all.linger, linger.bytes(8).bodies(0));

    let (default, one) = (Settings::default(), settings("body_bytes_per_second: 5"));
    assert_eq!((one.body_rate, one.body_budget), (5, default.body_budget));
    assert_eq!((one.window, one.budget, one.linger), (default.window, default.budget, default.linger));
    assert_eq!(
        [one.body_timeout, one.reconnect_grace],
        [default.body_timeout, default.reconnect_grace],
        "keys that are not given"
    );
    for key in ["window_bytes: 0", "body_timeout_seconds: 0", "body_bytes_per_second: -1", "linger_bytes: a"]
    {
        let error = read(&format!("limits:\n  {key}")).unwrap_err();
        assert!(error.contains("limits.") && error.contains("line 2"), "{error}");
    }
    assert!(read("limits: {window: 1}").unwrap_err().contains("unknown field `window`"));
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
fn routes_can_be_replaced_and_other_keys_need_a_restart() {
    let running = read("routes: [{path: /a, app: a}]").unwrap();
    assert!(!read("routes: [{path: /b, app: a}]").unwrap().needs_restart(&running));
    for text in ["nats_stream: S", "nats_token: t", "request_timeout_seconds: 1", "server_addr: :1"] {
        let text = format!("{text}\nroutes: [{{path: /a, app: a}}]");
        assert!(read(&text).unwrap().needs_restart(&running), "{text}");
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
