use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, header};
use narun_core::fields::{Edit, X_FORWARDED, X_REQUEST_ID};

use super::element::Element;
use super::{ForwardedPolicy, Forwarding, Peer, request_id};
use crate::route::host;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// All fields that may be dropped by name. Each combination that occurs is a slice of it.
static DROPPED: [HeaderName; 2] = [header::FORWARDED, X_REQUEST_ID];

const PLACEHOLDER: (HeaderName, HeaderValue) = (X_REQUEST_ID, HeaderValue::from_static(""));

/// The changes that a gateway makes to a request's fields: those of [`ForwardedPolicy`](super::ForwardedPolicy),
/// `X-Request-Id`, `Host` and `Cookie`.
///
/// Stored without an allocation, and applied when the request is encoded.
#[derive(Debug)]
pub(crate) struct FieldChanges<'a> {
    without: &'static [HeaderName],
    without_prefix: Option<&'static str>,
    keep: &'a [HeaderName],
    host: Option<&'a str>,
    with: [(HeaderName, HeaderValue); 5],
    len: usize,
}

impl<'a> FieldChanges<'a> {
    /// The changes for a request. `keep` are fields that `Connection` does not remove. `request_id` is the id of the request.
    pub(crate) fn new(
        parts: &'a Parts,
        peer: Option<&Peer>,
        forwarding: &Forwarding,
        keep: &'a [HeaderName],
        request_id: &HeaderValue,
    ) -> Self {
        // The authority of the target has chosen the route.
        let host = parts.uri.authority().map(Authority::as_str);
        let mut changes =
            Self { without: &[], without_prefix: None, keep, host, with: [PLACEHOLDER; 5], len: 0 };
        let mut dropped = 1..1;
        match forwarding.policy_for(peer) {
            ForwardedPolicy::Off => {}
            ForwardedPolicy::Append => {
                changes.add_forwarded(parts, peer, |name| !parts.headers.contains_key(name));
            }
            ForwardedPolicy::Replace => {
                changes.add_forwarded(parts, peer, |_| true);
                changes.without_prefix = Some(X_FORWARDED);
                dropped.start = 0;
            }
        }
        if request_id::passed_on(&parts.headers).is_none() {
            changes.add(X_REQUEST_ID, request_id.clone());
            dropped.end = 2;
        }
        changes.without = &DROPPED[dropped];
        changes
    }

    /// The changes in the form of the encoder.
    pub(crate) fn edit(&self) -> Edit<'_> {
        Edit {
            without: self.without,
            without_prefix: self.without_prefix,
            keep: self.keep,
            host: self.host,
            join_cookies: true,
            with: &self.with[..self.len],
        }
    }

    /// Adds the fields whose values are known. Those with a single value are added only if they are `wanted`.
    fn add_forwarded(&mut self, parts: &Parts, peer: Option<&Peer>, wanted: impl Fn(&HeaderName) -> bool) {
        let client = peer.map(|peer| peer.address().ip().to_string());
        let host = host::of_request(&parts.uri, parts.version, &parts.headers).ok().flatten();
        let host = host.filter(|host| !host.is_empty());
        let proto = peer.map(Peer::scheme);
        if client.is_some() || host.is_some() {
            let element = Element { client: client.as_deref(), host, proto: proto.map(Scheme::as_str) };
            self.add_text(header::FORWARDED, element.to_string());
        }
        if let Some(client) = client {
            self.add_text(X_FORWARDED_FOR, client);
        }
        if let Some(host) = host
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
