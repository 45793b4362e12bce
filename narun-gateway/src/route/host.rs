//! Hosts of routes and of requests.

use std::io::Write;
use std::net::Ipv6Addr;

use http::{HeaderMap, Uri, Version, header};

/// The most bytes of a DNS name (RFC 1035, 2.3.4, as text). Addresses are shorter.
pub(crate) const MAX_LEN: usize = 253;

/// The hosts of a route, in lower case and without a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostPattern {
    Any,
    Exact(Box<str>),
    /// All names that end in a dot and this name.
    Below(Box<str>),
}

impl HostPattern {
    pub(crate) fn parse(host: Option<&str>) -> Result<Self, &'static str> {
        let Some(host) = host else { return Ok(Self::Any) };
        if let Some(address) = host.strip_prefix('[') {
            let address = address.strip_suffix(']').ok_or("has no closing bracket at its end")?;
            let address: Ipv6Addr = address.parse().map_err(|_| "is not an IPv6 address in brackets")?;
            return Ok(Self::Exact(format!("[{address}]").into()));
        }
        match host.strip_prefix("*.") {
            Some(parent) => parse_name(parent).map(Self::Below),
            None => parse_name(host).map(Self::Exact),
        }
    }
}

fn parse_name(name: &str) -> Result<Box<str>, &'static str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > MAX_LEN {
        return Err("is not a name of 1 to 253 bytes");
    }
    if name.contains(':') {
        return Err("has a port, or is an IPv6 address without brackets");
    }
    if name.contains('*') {
        return Err("has a `*` that is not its whole first label");
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err("has a label that is not of 1 to 63 bytes");
        }
        if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return Err("has a character that is not one of `A-Z a-z 0-9 - _ .`");
        }
    }
    Ok(name.to_ascii_lowercase().into())
}

/// The host of a request, with its port if there is one: that of the target, or else of the `Host` field, which must be
/// ignored beside a target with a host (RFC 9112, 3.2.2; RFC 9113, 8.3.1). Returns `None` if there is none, which only
/// HTTP/1.1 forbids.
///
/// # Errors
///
/// What is wrong with the host. The request then must get 400 (RFC 9112, 3.2).
pub(crate) fn of_request<'a>(
    uri: &'a Uri,
    version: Version,
    headers: &'a HeaderMap,
) -> Result<Option<&'a str>, &'static str> {
    let mut fields = headers.get_all(header::HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err("more than one Host");
    }
    if field.is_none() && version == Version::HTTP_11 {
        return Err("no Host");
    }
    let field = field.map(|field| checked(field.to_str().map_err(|_| INVALID)?)).transpose()?;
    match uri.authority() {
        Some(authority) => checked(authority.as_str()).map(Some),
        None => Ok(field),
    }
}

const INVALID: &str = "the host is not a name or address with or without a port";

/// Checks a host with or without a port (RFC 3986, 3.2.2 and 3.2.3). It has no user (RFC 9110, 4.2.4; RFC 9113, 8.3.1).
fn checked(host: &str) -> Result<&str, &'static str> {
    let (name, port) = split(host).ok_or(INVALID)?;
    let is_valid = match name.strip_prefix('[') {
        Some(_) => address(name).is_some(),
        None => is_name(name.as_bytes()),
    };
    let is_port = port.is_empty() || port.parse::<u16>().is_ok_and(|_| !port.starts_with('+'));
    if is_valid && is_port { Ok(host) } else { Err(INVALID) }
}

/// Splits a host from its port, which is empty if there is none. Returns `None` if there is something else.
fn split(host: &str) -> Option<(&str, &str)> {
    let name = match host.starts_with('[') {
        true => host.find(']')? + 1,
        false => host.find(':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(name);
    Some((name, if port.is_empty() { port } else { port.strip_prefix(':')? }))
}

/// The address in brackets. Addresses of later versions than 6 are not known yet.
fn address(literal: &str) -> Option<Ipv6Addr> {
    literal.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Whether these are the bytes of a `reg-name`, without a comma: `Host` is not a list.
fn is_name(mut name: &[u8]) -> bool {
    while let [first, rest @ ..] = name {
        name = match (first, rest) {
            (b'%', [high, low, rest @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            (first, rest) if first.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(first) => rest,
            _ => return false,
        };
    }
    true
}

/// The key of a valid host in a table: without port and trailing dot, in lower case, and the one form of an IPv6 address.
/// Returns `None` if it is longer than any host of a route.
pub(crate) fn key<'a>(host: &str, buffer: &'a mut [u8; MAX_LEN]) -> Option<&'a [u8]> {
    let (name, _) = split(host)?;
    if let Some(address) = address(name) {
        let mut left = &mut buffer[..];
        write!(left, "[{address}]").ok()?;
        let length = MAX_LEN - left.len();
        return Some(&buffer[..length]);
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let key = buffer.get_mut(..name.len())?;
    key.copy_from_slice(name.as_bytes());
    key.make_ascii_lowercase();
    Some(key)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn host<'a>(uri: &'a Uri, version: Version, headers: &'a HeaderMap) -> Result<Option<&'a str>, ()> {
        of_request(uri, version, headers).map_err(|_| ())
    }

    fn fields(hosts: &[&[u8]]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for host in hosts {
            fields.append(header::HOST, HeaderValue::from_bytes(host).expect("a value"));
        }
        fields
    }

    #[test]
    fn valid_hosts_are_taken() {
        let uri = Uri::from_static("/");
        for valid in [
            "a.example",
            "A.Example.",
            "a.example:80",
            "a.example:",
            "a_b-c~d",
            "192.0.2.1:1",
            "[::1]",
            "[2001:DB8::1]:65535",
            "xn--bcher-kva.example",
            "a%20b",
            "(a)!$&'*+;=",
            "",
        ] {
            let fields = fields(&[valid.as_bytes()]);
            for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
                assert_eq!(host(&uri, version, &fields), Ok(Some(valid)), "{valid:?}");
            }
        }
    }

    /// RFC 9112, 3.2.
    #[test]
    fn invalid_and_repeated_hosts_are_refused() {
        let uris = [Uri::from_static("/"), Uri::from_static("http://a.example/")];
        let invalid: [&[&[u8]]; 25] = [
            &[b"a b"],
            &[b"a.example/evil"],
            &[b"a.example?x"],
            &[b"a.example#x"],
            &[b"user@a.example"],
            &[b"user:word@a.example"],
            &[b"@"],
            &[b"a.example:abc"],
            &[b"a.example:80:80"],
            &[b"a.example:65536"],
            &[b"a.example:+80"],
            &[b"a.example:-1"],
            &[b"a.example, b.example"],
            &[b"a.example,b.example"],
            &[b"["],
            &[b"[::1"],
            &[b"[::1]x"],
            &[b"[::1]80"],
            &[b"[a.example]"],
            &[b"[v1.x]"],
            &[b"::1"],
            &[b"a%2"],
            &[b"caf\xe9.example"],
            &[b"a.example", b"a.example"],
            &[b"a.example", b"b.example"],
        ];
        for hosts in invalid {
            let fields = fields(hosts);
            for (uri, version) in uris.iter().zip([Version::HTTP_10, Version::HTTP_11, Version::HTTP_2]) {
                assert!(host(uri, version, &fields).is_err(), "{hosts:?} {uri} {version:?}");
            }
        }
    }

    #[test]
    fn only_http_1_1_needs_a_host() {
        let none = HeaderMap::new();
        for target in ["/", "http://a.example/"] {
            assert!(host(&Uri::from_static(target), Version::HTTP_11, &none).is_err(), "{target}");
        }
        for version in [Version::HTTP_10, Version::HTTP_2] {
            assert_eq!(host(&Uri::from_static("/"), version, &none), Ok(None));
        }
    }

    #[test]
    fn the_host_of_the_target_wins() {
        let fields = fields(&[b"b.example"]);
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let uri = Uri::from_static("http://a.example:81/");
            assert_eq!(host(&uri, version, &fields), Ok(Some("a.example:81")));
            let uri = Uri::from_static("http://user@a.example/");
            assert!(host(&uri, version, &fields).is_err());
        }
    }

    #[test]
    fn keys_are_in_lower_case_without_port_and_dot() {
        let long = "a".repeat(MAX_LEN + 1);
        for (host, expected) in [
            ("A.Example.:80", Some("a.example")),
            ("a.example", Some("a.example")),
            ("[2001:DB8:0:0::1]:80", Some("[2001:db8::1]")),
            ("[::FFFF:192.0.2.1]", Some("[::ffff:192.0.2.1]")),
            ("[::ffff:c000:201]", Some("[::ffff:192.0.2.1]")),
            ("", Some("")),
            (&long, None),
        ] {
            assert_eq!(key(host, &mut [0; MAX_LEN]), expected.map(str::as_bytes), "{host}");
        }
    }
}
