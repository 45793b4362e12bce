//! What the head of a request may not have, whatever its route is.

use http::header::{CONNECTION, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, Method, Version, request};
use narun_core::{Failure, FailureKind};

/// Why a request cannot be sent to any app. Returns `None` if it can.
pub(super) fn refusal(parts: &request::Parts) -> Option<Failure> {
    if is_tunnel(parts) {
        return Some(FailureKind::NotImplemented.into());
    }
    transfer_coding(&parts.headers)
}

/// Whether the request asks for a tunnel: CONNECT, or an upgrade to WebSocket.
///
/// `Upgrade` counts only in HTTP/1.1, and only if `Connection` names it (RFC 9110, 7.8).
fn is_tunnel(parts: &request::Parts) -> bool {
    let has = |name, token| list(&parts.headers, name).any(|item| item.eq_ignore_ascii_case(token));
    parts.method == Method::CONNECT
        || (parts.version == Version::HTTP_11 && has(UPGRADE, b"websocket") && has(CONNECTION, b"upgrade"))
}

/// Refuses transfer codings other than `chunked`, which the HTTP server does not decode (RFC 9112, 6.1), and a `chunked` that
/// is applied more than once (RFC 9112, 7.1).
fn transfer_coding(fields: &HeaderMap) -> Option<Failure> {
    if list(fields, TRANSFER_ENCODING).any(|coding| !coding.eq_ignore_ascii_case(b"chunked")) {
        let detail = "a transfer coding other than chunked";
        return Some(Failure::new(FailureKind::NotImplemented).with_detail(detail));
    }
    let is_repeated = list(fields, TRANSFER_ENCODING).count() > 1;
    is_repeated.then(|| Failure::new(FailureKind::InvalidHead).with_detail("chunked more than once"))
}

/// The items of a list in a field (RFC 9110, 5.6.1).
fn list(fields: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let lines = fields.get_all(name).into_iter().map(|line| line.as_bytes());
    let items = lines.flat_map(|line| line.split(|byte| *byte == b','));
    items.map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    /// The kind of the refusal of a request with these fields.
    fn kind(version: Version, fields: &[(HeaderName, &str)]) -> Option<FailureKind> {
        let mut request = Request::get("/").version(version);
        for (name, value) in fields {
            request = request.header(name, *value);
        }
        refusal(&request.body(()).unwrap().into_parts().0).map(|failure| failure.kind())
    }

    /// RFC 9112, 6.1 and 7.1.
    #[test]
    fn only_chunked_is_a_transfer_coding() {
        for (codings, expected) in [
            (&["chunked"][..], None),
            (&["Chunked"], None),
            (&[" , chunked"], None),
            (&["gzip, chunked"], Some(FailureKind::NotImplemented)),
            (&["gzip", "chunked"], Some(FailureKind::NotImplemented)),
            (&["chunked;a=b"], Some(FailureKind::NotImplemented)),
            (&["identity"], Some(FailureKind::NotImplemented)),
            (&["chunked, chunked"], Some(FailureKind::InvalidHead)),
            (&["chunked", "chunked"], Some(FailureKind::InvalidHead)),
        ] {
            let fields: Vec<_> = codings.iter().map(|coding| (TRANSFER_ENCODING, *coding)).collect();
            assert_eq!(kind(Version::HTTP_11, &fields), expected, "{codings:?}");
        }
    }

    /// RFC 9110, 7.8.
    #[test]
    fn upgrade_counts_in_http_1_1_if_connection_names_it() {
        let upgrade = (UPGRADE, "h2c, WebSocket");
        let connection = (CONNECTION, "keep-alive, Upgrade");
        let both = [upgrade.clone(), connection];
        assert_eq!(kind(Version::HTTP_11, &both), Some(FailureKind::NotImplemented));
        assert_eq!(kind(Version::HTTP_10, &both), None);
        assert_eq!(kind(Version::HTTP_2, &both), None);
        assert_eq!(kind(Version::HTTP_11, std::slice::from_ref(&upgrade)), None);
        assert_eq!(kind(Version::HTTP_11, &[upgrade, (CONNECTION, "close")]), None);
        assert_eq!(kind(Version::HTTP_11, &[(UPGRADE, "h2c"), (CONNECTION, "upgrade")]), None);
    }
}
