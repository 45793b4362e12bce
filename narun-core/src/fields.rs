//! HTTP fields on their way through a gateway: which never cross, which are added; and those of gRPC.
//!
//! Fields that concern one connection only (RFC 9110, section 7.6.1) never cross NATS: neither a gateway nor a consumer
//! puts them into a frame, and both ignore them in a frame that they receive. `TE: trailers` is one of them, so a handler
//! does not see it, and trailers cross whether or not it was there; a consumer that forwards requests to a server of
//! its own, where gRPC wants the field, adds it there. `Proxy-Authenticate` and `Proxy-Authorization` count as such fields
//! too: they are for the next proxy on the way (sections 11.7.1 and 11.7.2), which a gateway is and the app behind it
//! is not. `Trailer` is none, and crosses.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// `x-request-id`.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// `grpc-status`.
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// `grpc-message`.
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Changes to a message's fields made while they are encoded, so that the field map itself stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edit<'a> {
    /// Fields left out, besides the hop-by-hop ones, which never cross.
    pub without: &'a [HeaderName],
    /// Fields put after the others. [`Edit::without`] and `Connection` do not affect them.
    pub with: &'a [(HeaderName, HeaderValue)],
}

/// The fields of a message that its own `Connection` fields name, and that are hop-by-hop for that reason alone.
///
/// Empty, and without an allocation, for a message that has no `Connection` field or none that names a field of it.
#[derive(Clone, Debug, Default)]
pub struct ConnectionOptions(Vec<HeaderName>);

impl ConnectionOptions {
    /// What the `Connection` fields among `fields` name, as far as it is among them too.
    pub fn of(fields: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for value in fields.get_all(header::CONNECTION) {
            for option in value.as_bytes().split(|byte| *byte == b',') {
                let option = option.trim_ascii();
                // Looked up before it is made a name: most options, such as `close`, name no field.
                if std::str::from_utf8(option).is_ok_and(|option| fields.contains_key(option)) {
                    names.extend(HeaderName::from_bytes(option));
                }
            }
        }
        names.sort_unstable_by(|left, right| left.as_str().cmp(right.as_str()));
        names.dedup();
        Self(names)
    }

    /// Whether this field is named.
    #[inline]
    pub fn contain(&self, name: &HeaderName) -> bool {
        !self.0.is_empty() && self.0.binary_search_by(|named| named.as_str().cmp(name.as_str())).is_ok()
    }
}

/// Whether a field of this name concerns one connection only, whatever the message.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    is_hop_by_hop_name(name.as_str())
}

/// The same for a name in lower case.
#[inline]
pub(crate) fn is_hop_by_hop_name(name: &str) -> bool {
    // Told apart by length first, because this is asked for every field that crosses.
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

/// Whether a field of this name has no place among trailers (RFC 9110, section 6.5.1): hop-by-hop fields, and those that
/// frame, route, authorize or describe a message.
pub fn is_forbidden_in_trailers(name: &HeaderName) -> bool {
    is_forbidden_in_trailers_name(name.as_str())
}

/// The same for a name in lower case.
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

/// Removes the hop-by-hop fields, and those that `Connection` names; the others keep their order.
pub fn remove_hop_by_hop(fields: &mut HeaderMap) {
    if !fields.keys().any(is_hop_by_hop) {
        return;
    }
    let options = ConnectionOptions::of(fields);
    // Not with `HeaderMap::remove`, which does not keep the order.
    let mut kept = HeaderMap::with_capacity(fields.keys_len());
    let mut current = None;
    for (name, value) in fields.drain() {
        // A name comes with the first of its values only.
        if name.is_some() {
            current = name.filter(|name| !is_hop_by_hop(name) && !options.contain(name));
        }
        if let Some(name) = &current {
            kept.append(name, value);
        }
    }
    *fields = kept;
}

/// How long the client of a gRPC call waits, by its `grpc-timeout`: up to eight digits, and a unit. None if it says
/// nothing that can be read.
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
