//! HTTP fields: the ones that never cross NATS, the ones that a gateway adds, and those of gRPC.
//!
//! Hop-by-hop fields, which concern one connection only (RFC 9110, section 7.6.1), never cross NATS: neither a gateway nor
//! a consumer puts them into a frame, and both ignore them in a frame that they receive.
//!
//! - `TE: trailers` is a hop-by-hop field, so a handler does not see it. Trailers cross with or without it. A consumer that
//!   forwards requests to another server adds the field if that server needs it, as gRPC servers do.
//! - `Proxy-Authenticate` and `Proxy-Authorization` count as hop-by-hop fields. They are meant for the next proxy (sections
//!   11.7.1 and 11.7.2), which is the gateway and not the app.
//! - `Trailer` is not a hop-by-hop field, and crosses.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The field `x-request-id`.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The field `grpc-status`.
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The field `grpc-message`.
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Changes to a message's fields that are made while they are encoded. The field map itself stays unchanged.
///
/// Where fields are left out by their names, an underscore counts as a hyphen: apps behind CGI (RFC 3875, section 4.1.18)
/// cannot tell `X_Forwarded_For` from `X-Forwarded-For`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edit<'a> {
    /// Fields that are left out, in addition to the hop-by-hop fields. Default empty.
    pub without: &'a [HeaderName],
    /// Fields whose names, in lower case, begin with this are left out too. Default `None`.
    pub without_prefix: Option<&'a str>,
    /// Fields that `Connection` does not turn into hop-by-hop fields, beside those that [`ConnectionOptions`] never
    /// contain. Default empty.
    pub keep: &'a [HeaderName],
    /// The value of `Host`, which becomes the first field and replaces the message's own. Default `None`: the own ones stay.
    pub host: Option<&'a str>,
    /// Whether several `Cookie` fields become one, joined with `; ` (RFC 9113, section 8.2.3). Default false.
    pub join_cookies: bool,
    /// Fields that are added after the others. The rest of this edit and `Connection` do not affect them. Default empty.
    pub with: &'a [(HeaderName, HeaderValue)],
}

impl Edit<'_> {
    /// Returns whether [`without`](Self::without) or [`without_prefix`](Self::without_prefix) leave out a field of this name.
    pub fn leaves_out(&self, name: &HeaderName) -> bool {
        self.without.iter().any(|left_out| is_same_name(name, left_out))
            || self.without_prefix.is_some_and(|prefix| begins_with(name.as_str(), prefix))
    }
}

/// The fields of a message that its own `Connection` fields name, which makes them hop-by-hop fields.
///
/// A client must not name fields that are meant for all recipients (RFC 9110, section 7.6.1). So the fields that tell an
/// app whose request it is are never among them, whatever `Connection` says: `Host`, `Forwarded`, `X-Forwarded-…` and
/// `X-Request-Id`, also with underscores.
///
/// Empty, and without an allocation, if no `Connection` field names another field of the message.
#[derive(Clone, Debug, Default)]
pub struct ConnectionOptions(Vec<HeaderName>);

impl ConnectionOptions {
    /// Collects the names in `fields` that a `Connection` field among them lists. `keep` are further names that are never
    /// collected.
    pub fn of(fields: &HeaderMap, keep: &[HeaderName]) -> Self {
        let mut names = Vec::new();
        for value in fields.get_all(header::CONNECTION) {
            for option in value.as_bytes().split(|byte| *byte == b',') {
                let option = option.trim_ascii();
                // The lookup comes first, because most options, such as `close`, name no field.
                if std::str::from_utf8(option).is_ok_and(|option| fields.contains_key(option)) {
                    let name = HeaderName::from_bytes(option).ok();
                    names.extend(name.filter(|name| !is_for_all(name.as_str()) && !keep.contains(name)));
                }
            }
        }
        names.sort_unstable_by(|left, right| left.as_str().cmp(right.as_str()));
        names.dedup();
        Self(names)
    }

    /// Returns the names, each once.
    pub fn iter(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter()
    }

    /// Returns whether a `Connection` field names this field.
    #[inline]
    pub fn contain(&self, name: &HeaderName) -> bool {
        !self.0.is_empty() && self.0.binary_search_by(|named| named.as_str().cmp(name.as_str())).is_ok()
    }
}

/// The beginning of the names of fields such as `X-Forwarded-For`, in lower case.
pub const X_FORWARDED: &str = "x-forwarded-";

/// Returns whether a field of this name, in lower case, crosses even if `Connection` names it.
fn is_for_all(name: &str) -> bool {
    matches!(name, "host" | "forwarded")
        || begins_with(name, X_FORWARDED)
        || (name.len() == X_REQUEST_ID.as_str().len() && begins_with(name, X_REQUEST_ID.as_str()))
}

/// Returns whether two names are the same to an app that cannot tell underscores from hyphens.
pub fn is_same_name(left: &HeaderName, right: &HeaderName) -> bool {
    let (left, right) = (left.as_str(), right.as_str());
    left.len() == right.len() && begins_with(left, right)
}

/// Returns whether a name begins with another one. An underscore counts as a hyphen. Both are in lower case.
fn begins_with(name: &str, beginning: &str) -> bool {
    let hyphen = |byte: u8| if byte == b'_' { b'-' } else { byte };
    name.len() >= beginning.len()
        && name.bytes().zip(beginning.bytes()).all(|(left, right)| hyphen(left) == hyphen(right))
}

/// Returns whether a field of this name is a hop-by-hop field in every message (RFC 9110, section 7.6.1).
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    is_hop_by_hop_name(name.as_str())
}

/// The same for a name that is in lower case.
#[inline]
pub(crate) fn is_hop_by_hop_name(name: &str) -> bool {
    // Compares the length first, because this is called for every field that crosses.
    match name.len() {
        2 => name == "te",
        7 => name == "upgrade",
        10 => matches!(name, "connection" | "keep-alive"),
        16 => name == "proxy-connection",
        17 => name == "transfer-encoding",
        18 => name == "proxy-authenticate",
        19 => name == "proxy-authorization",
        _ => false,
    }
}

/// Returns whether a field of this name is not allowed in trailers (RFC 9110, section 6.5.1): hop-by-hop fields, and fields
/// that frame, route, authorize or describe a message.
pub fn is_forbidden_in_trailers(name: &HeaderName) -> bool {
    is_forbidden_in_trailers_name(name.as_str())
}

/// The same for a name that is in lower case.
pub(crate) fn is_forbidden_in_trailers_name(name: &str) -> bool {
    is_hop_by_hop_name(name)
        || matches!(
            name,
            "authorization"
                | "cache-control"
                | "content-encoding"
                | "content-length"
                | "content-range"
                | "content-type"
                | "cookie"
                | "expect"
                | "host"
                | "max-forwards"
                | "range"
                | "set-cookie"
                | "trailer"
        )
}

/// Removes the hop-by-hop fields, including those that `Connection` names. The others keep their order.
pub(crate) fn remove_hop_by_hop(fields: &mut HeaderMap) {
    if !fields.keys().any(is_hop_by_hop) {
        return;
    }
    let options = ConnectionOptions::of(fields, &[]);
    // `HeaderMap::remove` would not keep the order.
    let mut kept = HeaderMap::with_capacity(fields.keys_len());
    let mut current = None;
    for (name, value) in fields.drain() {
        // Only the first value of a name comes with the name.
        if name.is_some() {
            current = name.filter(|name| !is_hop_by_hop(name) && !options.contain(name));
        }
        if let Some(name) = &current {
            kept.append(name, value);
        }
    }
    *fields = kept;
}

/// Returns the timeout of a gRPC call from its `grpc-timeout` field: up to eight digits and a unit (gRPC over HTTP/2).
/// Returns `None` if the field is missing or invalid.
pub fn grpc_timeout(fields: &HeaderMap) -> Option<Duration> {
    let (unit, digits) = fields.get(GRPC_TIMEOUT)?.as_bytes().split_last()?;
    let digits = std::str::from_utf8(digits).ok().filter(|digits| matches!(digits.len(), 1..=8))?;
    let number = digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())??;
    Some(match unit {
        b'H' => Duration::from_secs(3600 * number),
        b'M' => Duration::from_secs(60 * number),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
