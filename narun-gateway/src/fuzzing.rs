//! Private parsers, for the fuzz targets. Not part of the API: it may change in any release.

use bytes::Bytes;
use http::HeaderValue;
use http::request::Parts;
use narun_core::frame::{EncodeError, RequestHead};
use narun_core::{ExchangeId, Limits};

use crate::forward::Forwarding;
use crate::forward::fields::FieldChanges;
use crate::route::host::{self, MAX_LEN};
use crate::{Cidr, ForwardedPolicy, Peer};

/// The host of a request, and what it is looked up by: empty if no route can have it.
///
/// # Errors
///
/// What is wrong with the host.
pub fn host(parts: &Parts) -> Result<Option<(&str, Vec<u8>)>, &'static str> {
    let host = host::of_request(&parts.uri, parts.version, &parts.headers)?;
    let key = |host| host::key(host, &mut [0; MAX_LEN]).unwrap_or_default().to_vec();
    Ok(host.map(|host| (host, key(host))))
}

/// The REQUEST frame for a request of this peer, with the policy `Append` for these proxies.
///
/// # Errors
///
/// As [`RequestHead::encode`].
pub fn forwarded(parts: &Parts, peer: Option<&Peer>, trusted: Vec<Cidr>) -> Result<Bytes, EncodeError> {
    let id = HeaderValue::from_static("id");
    let forwarding = Forwarding { policy: ForwardedPolicy::Append, trusted };
    let changes = FieldChanges::new(parts, peer, &forwarding, &[], &id);
    let head = RequestHead::new(ExchangeId::from_bytes([0; 16]));
    head.encode(parts, changes.edit(), &b""[..], None, &Limits::default())
}
