use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::{ConnectionOptions, grpc_timeout, is_forbidden_in_trailers, is_hop_by_hop, remove_hop_by_hop};

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    let mut map = HeaderMap::new();
    for (name, value) in fields.iter().map(field) {
        map.append(name, value);
    }
    map
}

fn left(mut fields: HeaderMap) -> Vec<String> {
    remove_hop_by_hop(&mut fields);
    fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
}

#[test]
fn hop_by_hop_fields_are_recognized() {
    for name in [
        "Connection",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Transfer-Encoding",
        "Upgrade",
    ] {
        let name: HeaderName = name.parse().unwrap();
        assert!(is_hop_by_hop(&name), "{name}");
        assert!(is_forbidden_in_trailers(&name), "{name}");
    }
    for name in
        ["host", "trailer", "cookie", "user-agent", "x-proxy-connection", "tea", "te2", "grpc-timeout"]
    {
        assert!(!is_hop_by_hop(&name.parse().unwrap()), "{name}");
    }
}

#[test]
fn fields_that_frame_or_describe_a_message_are_forbidden_in_trailers() {
    for name in
        [header::CONTENT_LENGTH, header::HOST, header::SET_COOKIE, header::AUTHORIZATION, header::TRAILER]
    {
        assert!(is_forbidden_in_trailers(&name), "{name}");
    }
    for name in ["grpc-status", "grpc-message", "digest", "etag", "server-timing"] {
        assert!(!is_forbidden_in_trailers(&name.parse().unwrap()), "{name}");
    }
}

#[test]
fn fields_that_connection_names_are_removed() {
    let fields = map(&[
        ("first", "1"),
        ("connection", " Named ,, close,\t"),
        ("named", "2"),
        ("other", "3"),
        ("connection", "other-named"),
        ("other-named", "4"),
        ("named", "5"),
        ("other", "6"),
        ("last", "7"),
    ]);
    assert_eq!(left(fields), ["first: 1", "other: 3", "other: 6", "last: 7"]);
}

#[test]
fn other_fields_stay_unchanged() {
    let fields = map(&[("b", "1"), ("a", "2"), ("b", "3")]);
    assert_eq!(left(fields), ["b: 1", "b: 3", "a: 2"]);
}

#[test]
fn connection_options_are_the_named_fields_of_the_message() {
    let options =
        ConnectionOptions::of(&map(&[("connection", "a, close, \u{e9}, b c, a"), ("a", ""), ("c", "")]), &[]);
    assert!(options.contain(&HeaderName::from_static("a")));
    for name in ["b", "c", "close", "connection"] {
        assert!(!options.contain(&HeaderName::from_static(name)), "{name}");
    }
    let none = ConnectionOptions::of(&map(&[("connection", "close"), ("a", "")]), &[]);
    assert!(!none.contain(&HeaderName::from_static("a")));
}

#[test]
fn connection_does_not_remove_fields_that_are_for_all_recipients() {
    let kept = [
        "host",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-port",
        "x_forwarded_host",
        "x-request-id",
        "x_request_id",
        "x-auth-user",
    ];
    let mut fields: Vec<_> = kept.iter().map(|name| (*name, "1")).collect();
    let all = "Host, Forwarded, X-Forwarded-For, X-Forwarded-Port, X_Forwarded_Host, X-Request-Id, X_Request_Id, \
        X-Auth-User, X-Mine";
    fields.extend([("x-mine", "1"), ("connection", all)]);
    let fields = map(&fields);
    let options = ConnectionOptions::of(&fields, &[HeaderName::from_static("x-auth-user")]);
    for name in kept {
        assert!(!options.contain(&HeaderName::from_static(name)), "{name}");
    }
    assert!(options.contain(&HeaderName::from_static("x-mine")));
    assert!(ConnectionOptions::of(&fields, &[]).contain(&HeaderName::from_static("x-auth-user")));
    assert_eq!(left(fields).len(), kept.len() - 1, "the receiver keeps what it does not know by name");
}

#[test]
fn grpc_timeouts_are_parsed() {
    let timeout_of = |text: &str| grpc_timeout(&map(&[("grpc-timeout", text)]));
    for (text, timeout) in [
        ("1H", Duration::from_secs(3600)),
        ("2M", Duration::from_secs(120)),
        ("3S", Duration::from_secs(3)),
        ("30S", Duration::from_secs(30)),
        ("4m", Duration::from_millis(4)),
        ("99999999m", Duration::from_millis(99_999_999)),
        ("5u", Duration::from_micros(5)),
        ("6n", Duration::from_nanos(6)),
        ("0n", Duration::ZERO),
        ("00000010S", Duration::from_secs(10)),
        ("99999999H", Duration::from_secs(99_999_999 * 3600)),
    ] {
        assert_eq!(timeout_of(text), Some(timeout), "{text}");
    }
    for text in [
        "",
        "S",
        "1",
        "15",
        "1s",
        "1h",
        "-1S",
        "+1S",
        "1.5S",
        " 1S",
        "1S ",
        "1 S",
        "100000000S",
        "123456789S",
        "ä",
    ] {
        assert_eq!(timeout_of(text), None, "{text:?}");
    }
    assert_eq!(grpc_timeout(&HeaderMap::new()), None);
}
