use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, header};
use narun_core::fields::{Edit, X_FORWARDED, X_REQUEST_ID};

use super::element::Element;
use super::texts::Texts;
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
/// Stored in one allocation at most, and applied when the request is encoded.
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
        let client = peer.map(|peer| peer.address().ip());
        let host = host::of_request(&parts.uri, parts.version, &parts.headers).ok().flatten();
        let host = host.filter(|host| !host.is_empty());
        let proto = peer.map(Peer::scheme);
        if client.is_none() && host.is_none() {
            return;
        }
        let mut texts = Texts::new();
        let forwarded = texts.push(Element { client, host, proto: proto.map(Scheme::as_str) });
        let client = client.map(|client| texts.push(client));
        let host = host.filter(|_| wanted(&X_FORWARDED_HOST)).map(|host| texts.push(host));
        let proto = proto.filter(|_| wanted(&X_FORWARDED_PROTO)).map(|proto| texts.push(proto));
        let texts = texts.into_bytes();
        for (name, place) in [
            (header::FORWARDED, Some(forwarded)),
            (X_FORWARDED_FOR, client),
            (X_FORWARDED_HOST, host),
            (X_FORWARDED_PROTO, proto),
        ] {
            // Valid, unless a hook has made up a scheme.
            if let Some(Ok(value)) = place.map(|place| HeaderValue::from_maybe_shared(texts.slice(place))) {
                self.add(name, value);
            }
        }
    }

    fn add(&mut self, name: HeaderName, value: HeaderValue) {
        if let Some(place) = self.with.get_mut(self.len) {
            *place = (name, value);
            self.len += 1;
        }
    }
}
