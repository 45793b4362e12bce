use http::request;
use narun_core::App;
use tracing::{Span, field};

/// Makes a span with OpenTelemetry's names for HTTP and messaging.
pub(crate) fn default_span(parts: &request::Parts, app: &App) -> Span {
    let span = tracing::info_span!(
        "http.consumer",
        otel.kind = "server",
        http.request.method = %parts.method,
        http.response.status_code = field::Empty,
        url.path = parts.uri.path(),
        messaging.system = "nats",
        messaging.consumer.group.name = app.as_str(),
        trace_id = field::Empty,
        parent_id = field::Empty,
    );
    if !span.is_disabled()
        && let Some((trace_id, parent_id)) =
            parts.headers.get("traceparent").and_then(|value| parse(value.as_bytes()))
    {
        span.record("trace_id", trace_id);
        span.record("parent_id", parent_id);
    }
    span
}

/// Returns the trace id and the parent id of a `traceparent` field (W3C Trace Context 3.2), or `None` if it is invalid.
fn parse(traceparent: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(traceparent).ok()?;
    let mut parts = text.split('-');
    let mut hex = |length: usize| {
        let part = parts.next()?;
        let valid =
            part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        valid.then_some(part)
    };
    let (version, trace_id, parent_id, _flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    let is_zero = |id: &str| id.bytes().all(|digit| digit == b'0');
    let more = parts.next().is_some();
    // Later versions may append parts.
    let known = version != "ff" && (version != "00" || !more);
    (known && !is_zero(trace_id) && !is_zero(parent_id)).then_some((trace_id, parent_id))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_traceparent_as_w3c_says() {
        let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let good = format!("00-{trace}-{parent}-01");
        assert_eq!(parse(good.as_bytes()), Some((trace, parent)));
        assert_eq!(parse(format!("01-{trace}-{parent}-01-more").as_bytes()), Some((trace, parent)));
        for bad in [
            format!("00-{trace}-{parent}-01-more"),
            format!("ff-{trace}-{parent}-01"),
            format!("00-{}-{parent}-01", trace.to_uppercase()),
            format!("00-{}-{parent}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{trace}-{parent}"),
            String::new(),
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
