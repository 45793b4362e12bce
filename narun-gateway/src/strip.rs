use std::task::{Context, Poll};

use http::Request;
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use narun_core::fields::ConnectionOptions;
use tower_layer::Layer;
use tower_service::Service;

/// What `Connection` may name for the HTTP server and the services inside, such as WebSockets.
const KEPT: [HeaderName; 5] =
    [TE, TRAILER, TRANSFER_ENCODING, UPGRADE, HeaderName::from_static("http2-settings")];

/// Removes the fields that the client's `Connection` names, and the names from `Connection` (RFC 9110, 7.6.1).
///
/// A client can name any field in `Connection`, and every proxy behind it, the gateway too, then has to remove that field,
/// although a layer between them has set it. For the outside of layers that set fields for the app, such as an
/// authentication that sets `x-auth-user`: fields that such a layer sets afterwards are no longer named.
///
/// `Keep-Alive` and `Proxy-Connection` are removed too. `Host`, `Forwarded`, `X-Request-Id` and the `X-Forwarded-` fields
/// stay, as do `TE`, `Trailer`, `Transfer-Encoding`, `Upgrade` and `HTTP2-Settings`, which the services inside may need.
///
/// ```
/// # async fn app(gateway: narun_gateway::Gateway) {
/// use axum::extract::Request;
/// use axum::middleware::{self, Next};
/// use narun_gateway::StripHopByHopLayer;
///
/// async fn authenticate(mut request: Request, next: Next) -> axum::response::Response {
///     request.headers_mut().insert("x-auth-user", "alice".parse().unwrap());
///     next.run(request).await
/// }
///
/// // Layers that are added later are outside.
/// let app: axum::Router = axum::Router::new()
///     .layer(gateway.layer())
///     .layer(middleware::from_fn(authenticate))
///     .layer(StripHopByHopLayer);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct StripHopByHopLayer;

impl<S> Layer<S> for StripHopByHopLayer {
    type Service = StripHopByHop<S>;

    fn layer(&self, inner: S) -> StripHopByHop<S> {
        StripHopByHop { inner }
    }
}

/// The service of a [`StripHopByHopLayer`].
#[derive(Clone, Copy, Debug)]
pub struct StripHopByHop<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for StripHopByHop<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        strip(request.headers_mut());
        self.inner.call(request)
    }
}

fn strip(fields: &mut HeaderMap) {
    fields.remove("keep-alive");
    fields.remove("proxy-connection");
    if !fields.contains_key(CONNECTION) {
        return;
    }
    let named = ConnectionOptions::of(fields, &KEPT);
    let mut left = Vec::new();
    for option in
        fields.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
    {
        let option = option.trim_ascii();
        let is_kept = KEPT.iter().any(|kept| option.eq_ignore_ascii_case(kept.as_str().as_bytes()))
            || [&b"close"[..], b"keep-alive"].iter().any(|kept| option.eq_ignore_ascii_case(kept));
        if is_kept {
            left.extend_from_slice(if left.is_empty() { b"" } else { b", " });
            left.extend_from_slice(option);
        }
    }
    for name in named.iter() {
        fields.remove(name);
    }
    match HeaderValue::try_from(left) {
        Ok(left) if !left.is_empty() => drop(fields.insert(CONNECTION, left)),
        _ => drop(fields.remove(CONNECTION)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(fields: &[(&str, &str)]) -> Vec<String> {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        strip(&mut map);
        let mut fields: Vec<_> =
            map.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        fields.sort_unstable();
        fields
    }

    #[test]
    fn fields_and_names_are_removed() {
        let fields = stripped(&[
            ("connection", "X-Auth-User, close, x-mine"),
            ("connection", "x-later, \u{e9}"),
            ("x-mine", "1"),
            ("x-mine", "2"),
            ("x-other", "3"),
            ("keep-alive", "5"),
            ("proxy-connection", "keep-alive"),
        ]);
        assert_eq!(fields, ["connection: close", "x-other: 3"]);
        assert!(stripped(&[("connection", "x-auth-user")]).is_empty());
    }

    #[test]
    fn fields_for_all_recipients_and_for_the_server_stay() {
        let all = [
            ("connection", "Upgrade, TE, Host, X-Forwarded-For"),
            ("host", "a.example"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("x-forwarded-for", "192.0.2.1"),
        ];
        let mut expected: Vec<_> = all.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        expected[0] = "connection: Upgrade, TE".to_owned();
        assert_eq!(stripped(&all), expected);
        assert_eq!(stripped(&all[1..]), expected[1..]);
    }
}
