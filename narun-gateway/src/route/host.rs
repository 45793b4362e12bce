//! Hosts of routes and of requests.

use std::net::Ipv6Addr;

use http::{HeaderMap, Uri, header};

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

/// The host of a request, with its port if there is one. Taken from the target, and otherwise from the `Host` field, which must
/// be ignored beside a target with a host (RFC 9112, 3.2.2). Returns `None` if there is none, or if it is not plain ASCII.
pub(crate) fn of_request<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    match uri.authority() {
        Some(authority) => Some(without_user(authority.as_str())),
        None => headers.get(header::HOST)?.to_str().ok(),
    }
}

/// The host without user, port and trailing dot.
pub(crate) fn without_port(authority: &str) -> &str {
    let host = without_user(authority);
    let end = match host.strip_prefix('[').and_then(|address| address.find(']')) {
        Some(bracket) => bracket + 2,
        None => host.find(':').unwrap_or(host.len()),
    };
    let host = &host[..end];
    host.strip_suffix('.').unwrap_or(host)
}

fn without_user(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}
