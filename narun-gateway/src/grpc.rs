//! What gRPC calls have beyond HTTP: the time that their client gives them, and statuses after the content.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use narun_core::{Failure, FailureKind};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// How long the client of a call waits, if it says so: `grpc-timeout`, of gRPC and gRPC-Web.
///
/// The specification asks nothing for a value that is none; it limits nothing here, and passes on to the handler's
/// server, as from other proxies.
pub(crate) fn timeout(fields: &HeaderMap) -> Option<Duration> {
    let content_type = fields.get(header::CONTENT_TYPE)?.as_bytes();
    let rest = content_type.strip_prefix(b"application/grpc")?;
    let is_grpc = matches!(rest.first(), None | Some(b'+' | b';')) || rest.starts_with(b"-web");
    fields.get(GRPC_TIMEOUT).filter(|_| is_grpc).and_then(parse)
}

/// Up to eight digits, and a unit.
fn parse(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
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

/// The trailers of a response that was begun and is not finished in time.
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
        let fields = [(header::CONTENT_TYPE, field(content_type)), (GRPC_TIMEOUT, field(text))];
        timeout(&HeaderMap::from_iter(fields))
    }

    #[test]
    fn timeouts_have_units() {
        for (text, timeout) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("4m", Duration::from_millis(4)),
            ("5u", Duration::from_micros(5)),
            ("6n", Duration::from_nanos(6)),
            ("0n", Duration::ZERO),
            ("00000010S", Duration::from_secs(10)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(timeout_of("application/grpc", text), Some(timeout), "{text}");
        }
        for text in ["", "S", "1", "1s", "1h", "-1S", "+1S", "1.5S", " 1S", "1S ", "100000000S", "ä"] {
            assert_eq!(timeout_of("application/grpc", text), None, "{text}");
        }
    }

    #[test]
    fn only_grpc_has_them() {
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
