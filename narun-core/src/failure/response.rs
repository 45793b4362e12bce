use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::Failure;
use crate::fields::{GRPC_MESSAGE, GRPC_STATUS, X_REQUEST_ID};

/// The parts of a request on which the response to a [`Failure`] depends.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailureContext {
    /// The request's method.
    pub method: Method,
    /// The `X-Request-Id` that the request has, or that the gateway gave it. `None` if it has none.
    pub request_id: Option<HeaderValue>,
    /// Whether the client speaks gRPC: its content type is `application/grpc`, with or without a suffix.
    pub grpc: bool,
}

impl FailureContext {
    /// Creates a context from its parts.
    pub const fn new(method: Method, request_id: Option<HeaderValue>, grpc: bool) -> Self {
        Self { method, request_id, grpc }
    }

    /// Creates the context of a request as the client sent it.
    pub fn of_request(method: &Method, headers: &HeaderMap) -> Self {
        Self::new(method.clone(), headers.get(X_REQUEST_ID).cloned(), Self::is_grpc(headers))
    }

    /// Returns whether these fields are those of a gRPC request.
    pub fn is_grpc(headers: &HeaderMap) -> bool {
        let Some(content_type) = headers.get(CONTENT_TYPE) else { return false };
        let rest = content_type.as_bytes().strip_prefix(b"application/grpc");
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    }
}

impl Failure {
    /// Makes the response to this failure: the HTTP status of the table above with a problem document (RFC 9457) as
    /// content. A gRPC client gets status 200 and the gRPC status, as a trailers-only response. `Retry-After` and
    /// `X-Request-Id` are set if they apply.
    pub fn to_response(&self, context: &FailureContext) -> Response<Bytes> {
        let mut response = if context.grpc { grpc(self) } else { problem(self, context) };
        let headers = response.headers_mut();
        if let Some(retry_after) = self.retry_after() {
            // Whole seconds, rounded up (RFC 9110, section 10.2.3).
            let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(request_id) = &context.request_id {
            headers.insert(X_REQUEST_ID, request_id.clone());
        }
        response
    }
}

fn problem(failure: &Failure, context: &FailureContext) -> Response<Bytes> {
    let status = failure.status();
    let mut json = String::with_capacity(128);
    json.push_str("{\"title\":");
    push_json(&mut json, status.canonical_reason().unwrap_or_default());
    let _ = write!(json, ",\"status\":{},\"detail\":", status.as_u16());
    push_json(&mut json, &failure.to_string());
    if let Some(request_id) = context.request_id.as_ref().and_then(|id| id.to_str().ok()) {
        json.push_str(",\"request_id\":");
        push_json(&mut json, request_id);
    }
    json.push_str("}\n");
    let mut response = Response::new(Bytes::from(json));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

fn grpc(failure: &Failure) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, u16::from(failure.grpc_code().as_u8()).into());
    if let Ok(message) = HeaderValue::try_from(percent_encode(&failure.to_string())) {
        headers.insert(GRPC_MESSAGE, message);
    }
    response
}

/// Appends a JSON string (RFC 8259, section 7).
fn push_json(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            control if control < ' ' => {
                let _ = write!(json, "\\u{:04x}", u32::from(control));
            }
            _ => json.push(character),
        }
    }
    json.push('"');
}

/// Percent-encodes a status message (gRPC over HTTP/2): everything but visible ASCII and space, and `%`.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FailureKind;

    fn context(content_type: &'static str) -> FailureContext {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("id-\"1"));
        FailureContext::of_request(&Method::POST, &headers)
    }

    fn text(response: Response<Bytes>) -> String {
        String::from_utf8(response.into_body().to_vec()).expect("text")
    }

    #[test]
    fn grpc_clients_are_recognized() {
        for grpc in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
            assert!(context(grpc).grpc, "{grpc}");
        }
        for other in ["application/grpc-web", "application/grpcish", "text/plain"] {
            assert!(!context(other).grpc, "{other}");
        }
    }

    #[test]
    fn http_clients_get_a_problem_document() {
        let failure = Failure::new(FailureKind::Overloaded)
            .with_detail("line\n2")
            .with_cause("stream TASK on 10.0.0.1")
            .with_retry_after(Some(std::time::Duration::from_millis(1500)));
        let response = failure.to_response(&context("text/plain"));
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[X_REQUEST_ID], "id-\"1");
        assert_eq!(
            text(response),
            "{\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"all consumers are busy: \
             line\\u000a2\",\"request_id\":\"id-\\\"1\"}\n"
        );
    }

    #[test]
    fn grpc_clients_get_a_trailers_only_response() {
        let failure = Failure::new(FailureKind::TimedOut).with_detail("5 % ä").with_cause("stream TASK");
        let response = failure.to_response(&context("application/grpc"));
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
        assert_eq!(response.headers()[GRPC_STATUS], "4");
        assert_eq!(response.headers()[GRPC_MESSAGE], "no response in time: 5 %25 %C3%A4");
        assert!(text(response).is_empty());
    }
}
