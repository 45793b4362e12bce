use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, header};
use narun_core::ExchangeId;
use narun_core::fields::{Edit, X_REQUEST_ID};

use super::element::Element;
use super::request_id::RequestId;
use super::{ForwardedPolicy, Peer};
use crate::route::host;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// All fields that may be dropped. Each combination that occurs is a slice of it.
static DROPPED: [HeaderName; 5] =
    [header::FORWARDED, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REQUEST_ID];

const PLACEHOLDER: (HeaderName, HeaderValue) = (X_REQUEST_ID, HeaderValue::from_static(""));

/// The changes that a gateway makes to a request's fields: those of [`ForwardedPolicy`], and `X-Request-Id`.
///
/// Stored without an allocation, and applied when the request is encoded.
#[derive(Debug)]
pub(crate) struct FieldChanges {
    without: &'static [HeaderName],
    with: [(HeaderName, HeaderValue); 5],
    len: usize,
}

impl FieldChanges {
    /// The changes for a request. `id` becomes its `X-Request-Id` if it has none, or if its own is over 128 bytes, not visible
    /// ASCII, or given more than once.
    pub(crate) fn new(parts: &Parts, peer: Option<&Peer>, policy: ForwardedPolicy, id: &ExchangeId) -> Self {
        let mut changes = Self { without: &[], with: [PLACEHOLDER; 5], len: 0 };
        let mut dropped = match policy {
            ForwardedPolicy::Off => 4..4,
            ForwardedPolicy::Append => {
                changes.add_forwarded(parts, peer, |name| !parts.headers.contains_key(name));
                4..4
            }
            ForwardedPolicy::Replace => {
                changes.add_forwarded(parts, peer, |_| true);
                0..4
            }
        };
        match RequestId::new(&parts.headers, id) {
            RequestId::Keep => {}
            RequestId::Add(id) => changes.add(X_REQUEST_ID, id),
            RequestId::Replace(id) => {
                changes.add(X_REQUEST_ID, id);
                dropped.end = 5;
            }
        }
        changes.without = &DROPPED[dropped];
        changes
    }

    /// The changes in the form of the encoder.
    pub(crate) fn edit(&self) -> Edit<'_> {
        Edit { without: self.without, with: &self.with[..self.len] }
    }

    /// Adds the fields whose values are known. Those with a single value are added only if they are `wanted`.
    fn add_forwarded(&mut self, parts: &Parts, peer: Option<&Peer>, wanted: impl Fn(&HeaderName) -> bool) {
        let client = peer.map(|peer| peer.address().ip().to_string());
        let host = host::of_request(&parts.uri, &parts.headers).filter(|host| !host.is_empty());
        let proto = peer.map(Peer::scheme);
        if client.is_some() || host.is_some() {
            let element = Element { client: client.as_deref(), host, proto: proto.map(Scheme::as_str) };
            self.add_text(header::FORWARDED, element.to_string());
        }
        if let Some(client) = client {
            self.add_text(X_FORWARDED_FOR, client);
        }
        // There is no quoting in this field, so other bytes would be ambiguous.
        if let Some(host) = host.filter(|host| host.bytes().all(is_host))
            && wanted(&X_FORWARDED_HOST)
        {
            match parts.headers.get(header::HOST) {
                Some(same) if same == host => self.add(X_FORWARDED_HOST, same.clone()),
                _ => self.add_text(X_FORWARDED_HOST, host.to_owned()),
            }
        }
        if let Some(proto) = proto
            && wanted(&X_FORWARDED_PROTO)
        {
            match proto.as_str() {
                "http" => self.add(X_FORWARDED_PROTO, HeaderValue::from_static("http")),
                "https" => self.add(X_FORWARDED_PROTO, HeaderValue::from_static("https")),
                other => self.add_text(X_FORWARDED_PROTO, other.to_owned()),
            }
        }
    }

    /// Adds a field, unless the value is invalid.
    fn add_text(&mut self, name: HeaderName, value: String) {
        if let Ok(value) = HeaderValue::try_from(value) {
            self.add(name, value);
        }
    }

    fn add(&mut self, name: HeaderName, value: HeaderValue) {
        if let Some(place) = self.with.get_mut(self.len) {
            *place = (name, value);
            self.len += 1;
        }
    }
}

/// Bytes of a host and port (RFC 3986, 3.2.2 and 3.2.3) other than the comma, which separates elements.
fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(&byte)
}
