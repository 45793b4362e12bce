//! Time limits of gRPC calls, and their status after the content.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use narun_core::fields::{GRPC_MESSAGE, GRPC_STATUS, grpc_timeout};
use narun_core::{Failure, FailureContext, FailureKind};

/// The `grpc-timeout` of a call, gRPC or gRPC-Web. Returns `None` if there is none, or if it is invalid.
///
/// The specification does not say what an invalid value means. It is passed on to the handler's server, as by other proxies.
pub(crate) fn timeout(fields: &HeaderMap) -> Option<Duration> {
    let is_web = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc-web");
    grpc_timeout(fields)
        .filter(|_| FailureContext::is_grpc(fields) || fields.get(header::CONTENT_TYPE).is_some_and(is_web))
}

/// The trailers of a response that times out after its head.
pub(crate) fn deadline_exceeded() -> HeaderMap {
    let failure = Failure::new(FailureKind::TimedOut);
    let status = HeaderValue::from(u16::from(failure.grpc_code().as_u8()));
    let message = HeaderValue::from_static("no end of the response in time");
    HeaderMap::from_iter([(GRPC_STATUS, status), (GRPC_MESSAGE, message)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout_of(content_type: &str, text: &str) -> Option<Duration> {
        let field = |value: &str| HeaderValue::try_from(value).unwrap();
        let name = header::HeaderName::from_static("grpc-timeout");
        let fields = [(header::CONTENT_TYPE, field(content_type)), (name, field(text))];
        timeout(&HeaderMap::from_iter(fields))
    }

    #[test]
    fn only_grpc_requests_have_a_timeout() {
        for grpc in ["application/grpc", "application/grpc+proto", "application/grpc;a=b"] {
            assert!(timeout_of(grpc, "1S").is_some(), "{grpc}");
        }
        for web in ["application/grpc-web", "application/grpc-web-text+proto"] {
            assert!(timeout_of(web, "1S").is_some(), "{web}");
        }
        for other in ["application/json", "application/grpcish", "text/plain"] {
            assert_eq!(timeout_of(other, "1S"), None, "{other}");
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }
}
