use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use narun_core::ExchangeId;

use super::fields::FieldChanges;
use super::*;

const ID: ExchangeId = ExchangeId::from_bytes([7; 16]);

fn peer(address: &str) -> Peer {
    Peer::new(format!("{address}:1234").parse().unwrap(), Scheme::HTTPS)
}

/// A request with this target and these fields.
fn request(target: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(target).header("x-request-id", "theirs");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

/// The policy, and trusted proxies.
fn forwarding(policy: ForwardedPolicy) -> Forwarding {
    Forwarding { policy, trusted: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::1".parse().unwrap()] }
}

/// The fields that an app gets, as `name: value` in order, without the request's id and host.
fn after(parts: &Parts, peer: Option<&Peer>, policy: ForwardedPolicy) -> Vec<String> {
    fields_after(parts, peer, policy)
        .iter()
        .filter(|(name, _)| *name != header::HOST && *name != "x-request-id")
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect()
}

fn fields_after(
    parts: &Parts,
    peer: Option<&Peer>,
    policy: ForwardedPolicy,
) -> Vec<(HeaderName, HeaderValue)> {
    let id = request_id::of_request(&parts.headers, &ID);
    let forwarding = forwarding(policy);
    let changes = FieldChanges::new(parts, peer, &forwarding, &[], &id);
    let edit = changes.edit();
    let kept = parts.headers.iter().filter(|(name, _)| !edit.leaves_out(name));
    let kept = kept.map(|(name, value)| (name.clone(), value.clone()));
    kept.chain(edit.with.iter().cloned()).collect()
}

const FORGED: [(&str, &str); 6] = [
    ("host", "example.com"),
    ("forwarded", "for=198.51.100.1"),
    ("x-forwarded-for", "198.51.100.1"),
    ("x-forwarded-host", "other.example"),
    ("x-forwarded-proto", "gopher"),
    ("x-forwarded-port", "70"),
];

#[test]
fn missing_fields_are_added() {
    let parts = request("/", &[("host", "example.com")]);
    for policy in [ForwardedPolicy::default(), ForwardedPolicy::Append, ForwardedPolicy::Replace] {
        assert_eq!(
            after(&parts, Some(&peer("192.0.2.1")), policy),
            [
                "forwarded: for=192.0.2.1;host=example.com;proto=https",
                "x-forwarded-for: 192.0.2.1",
                "x-forwarded-host: example.com",
                "x-forwarded-proto: https",
            ]
        );
    }
}

#[test]
fn append_adds_elements_and_keeps_single_values() {
    let after = after(&request("/", &FORGED), Some(&peer("192.0.2.1")), ForwardedPolicy::Append);
    let added = ["forwarded: for=192.0.2.1;host=example.com;proto=https", "x-forwarded-for: 192.0.2.1"];
    assert_eq!(
        after,
        [
            "forwarded: for=198.51.100.1",
            "x-forwarded-for: 198.51.100.1",
            "x-forwarded-host: other.example",
            "x-forwarded-proto: gopher",
            "x-forwarded-port: 70",
            added[0],
            added[1],
        ]
    );
}

#[test]
fn append_replaces_the_fields_of_strangers() {
    let parts = request("/", &FORGED);
    for address in ["198.51.100.9", "[2001:db8::2]"] {
        let stranger = peer(address);
        let fields = after(&parts, Some(&stranger), ForwardedPolicy::Append);
        assert_eq!(fields, after(&parts, Some(&stranger), ForwardedPolicy::Replace));
        assert_eq!(fields.len(), 4, "{fields:?}");
        assert!(!fields.concat().contains("198.51.100.1;"), "{fields:?}");
    }
    // A peer that is not known is a stranger.
    assert_eq!(
        after(&parts, None, ForwardedPolicy::Append),
        ["forwarded: host=example.com", "x-forwarded-host: example.com"]
    );
    assert!(Forwarding::default().trusted.is_empty());
}

#[test]
fn replace_drops_the_clients_fields() {
    let parts = request("/", &FORGED);
    assert_eq!(
        after(&parts, Some(&peer("192.0.2.1")), ForwardedPolicy::Replace),
        [
            "forwarded: for=192.0.2.1;host=example.com;proto=https",
            "x-forwarded-for: 192.0.2.1",
            "x-forwarded-host: example.com",
            "x-forwarded-proto: https",
        ]
    );
    let nothing_known = request("/", &FORGED[1..]);
    assert!(after(&nothing_known, None, ForwardedPolicy::Replace).is_empty());
}

#[test]
fn an_underscore_does_not_hide_a_field_that_is_replaced() {
    let forged = [("x_forwarded_for", "198.51.100.1"), ("x-forwarded_host", "other.example")];
    for policy in [ForwardedPolicy::Append, ForwardedPolicy::Replace] {
        assert!(after(&request("/", &forged), None, policy).is_empty());
    }
    // The request's own id is `theirs`.
    let parts = request("/", &[("x_request_id", "other")]);
    let fields = fields_after(&parts, None, ForwardedPolicy::Append);
    let [(name, value)] = &fields[..] else { panic!("{fields:?}") };
    assert_eq!((name.as_str(), value), ("x-request-id", &HeaderValue::from_str(&ID.to_string()).unwrap()));
}

#[test]
fn off_changes_nothing() {
    let parts = request("/", &FORGED);
    let (forwarding, id) = (forwarding(ForwardedPolicy::Off), HeaderValue::from_static("theirs"));
    let changes = FieldChanges::new(&parts, Some(&peer("192.0.2.1")), &forwarding, &[], &id);
    assert_eq!(changes.edit().without_prefix, None);
    assert!(changes.edit().with.is_empty() && changes.edit().without.is_empty());
}

#[test]
fn without_a_peer_only_the_host_is_added() {
    for target in ["/", "https://example.com/"] {
        let parts = request(target, &[("host", "example.com")]);
        assert_eq!(
            after(&parts, None, ForwardedPolicy::Append),
            ["forwarded: host=example.com", "x-forwarded-host: example.com"]
        );
    }
    assert!(after(&request("/", &[]), None, ForwardedPolicy::Append).is_empty());
}

#[test]
fn addresses_have_the_form_of_rfc_7239() {
    for (address, forwarded, x_forwarded_for) in [
        ("192.0.2.1", "for=192.0.2.1;proto=https", "192.0.2.1"),
        ("[2001:db8::1]", "for=\"[2001:db8::1]\";proto=https", "2001:db8::1"),
        ("[::ffff:192.0.2.1]", "for=192.0.2.1;proto=https", "192.0.2.1"),
        ("[::]", "for=\"[::]\";proto=https", "::"),
    ] {
        assert_eq!(
            after(&request("/", &[]), Some(&peer(address)), ForwardedPolicy::Append)[..2],
            [format!("forwarded: {forwarded}"), format!("x-forwarded-for: {x_forwarded_for}")]
        );
    }
}

#[test]
fn hosts_are_quoted_if_needed() {
    for (host, forwarded, x_forwarded_host) in [
        ("example.com", "host=example.com", "example.com"),
        ("example.com:8080", "host=\"example.com:8080\"", "example.com:8080"),
        ("[2001:db8::1]:80", "host=\"[2001:db8::1]:80\"", "[2001:db8::1]:80"),
        ("a;proto=http", "host=\"a;proto=http\"", "a;proto=http"),
    ] {
        let expected = [format!("forwarded: {forwarded}"), format!("x-forwarded-host: {x_forwarded_host}")];
        let parts = request("/", &[("host", host)]);
        assert_eq!(after(&parts, None, ForwardedPolicy::Append), expected);
    }
}

#[test]
fn invalid_hosts_are_left_out() {
    let mut parts = request("/", &[]);
    for host in [&b""[..], b"\xffhost", b"a\",for=b", b"a, b", b"a\\"] {
        parts.headers.insert(header::HOST, HeaderValue::from_bytes(host).unwrap());
        assert!(after(&parts, None, ForwardedPolicy::Append).is_empty());
    }
}

#[test]
fn the_host_of_the_target_wins_over_the_field() {
    let parts = request("http://target.example:81/", &[("host", "field.example")]);
    assert_eq!(
        after(&parts, None, ForwardedPolicy::Append),
        ["forwarded: host=\"target.example:81\"", "x-forwarded-host: target.example:81"]
    );
}

fn request_ids(headers: HeaderMap, policy: ForwardedPolicy) -> Vec<HeaderValue> {
    let mut parts = request("/", &[]);
    parts.headers = headers;
    let fields = fields_after(&parts, None, policy);
    fields.into_iter().filter(|(name, _)| *name == "x-request-id").map(|(_, value)| value).collect()
}

#[test]
fn valid_request_ids_are_passed_on() {
    let long = "x".repeat(128);
    for id in ["1", "!~", "3f0c-11", &long] {
        let headers = HeaderMap::from_iter([(
            HeaderName::from_static("x-request-id"),
            HeaderValue::from_str(id).unwrap(),
        )]);
        for policy in [ForwardedPolicy::Append, ForwardedPolicy::Replace, ForwardedPolicy::Off] {
            assert_eq!(request_ids(headers.clone(), policy), [id]);
        }
    }
}

#[test]
fn missing_and_invalid_request_ids_are_replaced_by_the_exchange_id() {
    let long = "x".repeat(129);
    let bad: [&[&[u8]]; 7] =
        [&[], &[b""], &[b"a b"], &[b"a\tb"], &[b"\xc3\xa4"], &[long.as_bytes()], &[b"one", b"other"]];
    for ids in bad {
        let mut headers = HeaderMap::new();
        for id in ids {
            headers.append("x-request-id", HeaderValue::from_bytes(id).unwrap());
        }
        for policy in [ForwardedPolicy::Append, ForwardedPolicy::Replace, ForwardedPolicy::Off] {
            assert_eq!(request_ids(headers.clone(), policy), [ID.to_string()]);
        }
    }
    assert_eq!(ID.to_string().len(), 26);
}

#[test]
fn the_default_hook_reads_the_extension() {
    let mut parts = request("/", &[]);
    assert_eq!(DefaultPeerHook.peer(&parts), None);
    #[cfg(feature = "axum")]
    {
        let connected = SocketAddr::from(([192, 0, 2, 2], 80));
        parts.extensions.insert(axum::extract::ConnectInfo(connected));
        assert_eq!(DefaultPeerHook.peer(&parts), Some(Peer::new(connected, Scheme::HTTP)));
    }
    parts.extensions.insert(peer("192.0.2.1"));
    assert_eq!(DefaultPeerHook.peer(&parts), Some(peer("192.0.2.1")));
}

#[test]
fn other_schemes_than_http_are_passed_on() {
    let gopher = Peer::new(([192, 0, 2, 1], 70).into(), "gopher".parse().unwrap());
    let after = after(&request("/", &[]), Some(&gopher), ForwardedPolicy::Append);
    assert_eq!(after[0], "forwarded: for=192.0.2.1;proto=gopher");
    assert_eq!(after[2], "x-forwarded-proto: gopher");
}
