//! Strategies for frames of every kind, with usual and unusual content.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http::{request, response};
use narun_core::ExchangeId;
use narun_core::fields::is_forbidden_in_trailers;
use narun_core::frame::{
    Accept, Credit, Data, Frame, ObjectRef, OutcomeRef, Refusal, Refused, RequestFrame, RequestHead, Reset,
    ResetCode, ResponseFrame, ResponseHead, VERSION, Working,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::string::{RegexGeneratorStrategy, string_regex};

/// Some names of fields that `http` knows, and some that it does not.
const USUAL: &[&str] =
    &["host", "accept", "cookie", "content-type", "content-length", "x-request-id", "trailer", "grpc-status"];

/// Returns the head of a usual request.
pub(crate) fn first_head() -> RequestHead {
    RequestHead::new(ExchangeId::from_bytes([7; 16]))
}

pub(crate) fn body() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        1 => Just(Bytes::new()),
        4 => vec(any::<u8>(), 1..64).prop_map(Bytes::from),
        // Lengths around the limits of their encodings.
        1 => (any::<u8>(), select(&[255, 256, 65_535, 65_536][..])).prop_map(|(byte, length)| vec![byte; length].into()),
    ]
}

/// Parses a regular expression once. A string as a strategy would be parsed for every value.
fn matching(expression: &str) -> RegexGeneratorStrategy<String> {
    string_regex(expression).unwrap()
}

fn name() -> impl Strategy<Value = HeaderName> {
    prop_oneof![
        select(USUAL).prop_map(HeaderName::from_static),
        matching("[a-z0-9!#$%&'*+.^_`|~-]{1,40}").prop_map(|name| HeaderName::try_from(name).unwrap()),
    ]
    .prop_filter("hop by hop", |name| !narun_core::fields::is_hop_by_hop(name))
}

fn value() -> impl Strategy<Value = HeaderValue> {
    let allowed = |byte: u8| if (byte >= b' ' && byte != 0x7f) || byte == b'\t' { byte } else { b' ' };
    prop_oneof![
        4 => vec(any::<u8>(), 0..16),
        1 => (any::<u8>(), 250..260_usize).prop_map(|(byte, length)| vec![byte; length]),
    ]
    .prop_map(move |bytes| {
        HeaderValue::from_bytes(&bytes.into_iter().map(allowed).collect::<Vec<_>>()).unwrap()
    })
}

fn fields() -> impl Strategy<Value = HeaderMap> {
    vec((name(), vec(value(), 1..4)), 0..12).prop_map(|fields| {
        let mut map = HeaderMap::new();
        for (name, values) in fields {
            for value in values {
                map.append(&name, value);
            }
        }
        map
    })
}

pub(crate) fn trailers() -> impl Strategy<Value = Option<HeaderMap>> {
    fields().prop_map(|map| {
        let mut kept = HeaderMap::new();
        for (name, value) in map.iter().filter(|(name, _)| !is_forbidden_in_trailers(name)) {
            kept.append(name, value.clone());
        }
        Some(kept).filter(|kept| !kept.is_empty())
    })
}

fn uri() -> impl Strategy<Value = Uri> {
    let path = || matching("/[a-zA-Z0-9%._~!$&'()*+,;=:@/äß-]{0,40}(\\?[a-z0-9=&%/?ü-]{0,20})?");
    let host = matching("([a-z0-9]{1,8}@)?([a-z0-9.-]{1,20}|\\[::1\\])(:[1-9][0-9]{0,3})?");
    let scheme = prop_oneof![Just("http"), Just("https"), Just("wss"), Just("x+y")];
    prop_oneof![
        4 => path().prop_map(|path| path.parse().unwrap()),
        1 => Just(Uri::from_static("*")),
        4 => (scheme, host, path()).prop_filter_map("an invalid host", |(scheme, host, path)| {
            format!("{scheme}://{host}{path}").parse().ok()
        }),
        1 => Just(Uri::from_static("example.com:443")),
    ]
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![
        select(vec![Method::GET, Method::HEAD, Method::POST, Method::CONNECT, Method::OPTIONS]),
        matching("[A-Za-z!#$%&'*+.^_`|~-]{1,30}").prop_map(|method| method.parse().unwrap()),
    ]
}

pub(crate) fn request_parts() -> impl Strategy<Value = request::Parts> {
    let versions =
        vec![Version::HTTP_09, Version::HTTP_10, Version::HTTP_11, Version::HTTP_2, Version::HTTP_3];
    (method(), uri(), select(versions), fields()).prop_map(|(method, uri, version, fields)| {
        let mut parts = Request::new(()).into_parts().0;
        parts.method = method;
        parts.uri = uri;
        parts.version = version;
        parts.headers = fields;
        parts
    })
}

pub(crate) fn response_parts() -> impl Strategy<Value = response::Parts> {
    (200..1000_u16, fields()).prop_map(|(status, fields)| {
        let mut parts = Response::new(()).into_parts().0;
        parts.status = StatusCode::from_u16(status).unwrap();
        parts.headers = fields;
        parts
    })
}

/// Generates numbers of every encoded width.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift)
}

fn millis() -> impl Strategy<Value = Option<Duration>> {
    option::of(number().prop_map(Duration::from_millis))
}

fn peer() -> impl Strategy<Value = Option<SocketAddr>> {
    option::of(prop_oneof![
        any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
        any::<([u8; 16], u16)>().prop_map(SocketAddr::from),
    ])
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), matching(".{0,60}")]
}

pub(crate) fn request_head() -> impl Strategy<Value = RequestHead> {
    let scheme = select(vec![Scheme::HTTP, Scheme::HTTPS]);
    let id = any::<[u8; 16]>().prop_map(ExchangeId::from_bytes);
    let times = (millis(), millis());
    let durable = (option::weighted(0.2, object()), option::weighted(0.2, outcome()), any::<bool>());
    (id, any::<u8>(), scheme, peer(), times, number(), number(), number(), durable).prop_map(
        |(
            id,
            attempt,
            scheme,
            peer,
            (head_timeout, total_timeout),
            features,
            credit,
            max_payload,
            durable,
        )| {
            let (object, outcome, end) = durable;
            let mut head = RequestHead::new(id);
            head.features = features;
            head.attempt = attempt;
            head.scheme = scheme;
            head.peer = peer;
            head.head_timeout = head_timeout;
            head.total_timeout = total_timeout;
            head.credit = credit;
            head.max_payload = max_payload;
            // An object holds the whole body.
            head.end = end || object.is_some();
            head.object = object.map(Box::new);
            head.outcome = outcome.map(Box::new);
            head
        },
    )
}

/// Returns the body, or an empty one if the head refers to an object.
pub(crate) fn body_besides(head: &RequestHead, body: Bytes) -> Bytes {
    if head.object.is_some() { Bytes::new() } else { body }
}

fn object() -> impl Strategy<Value = ObjectRef> {
    (text(), text(), number(), any::<[u8; 32]>()).prop_map(|(bucket, name, size, digest)| ObjectRef {
        bucket,
        name,
        size,
        digest,
    })
}

fn outcome() -> impl Strategy<Value = OutcomeRef> {
    (text(), any::<[u8; 32]>(), option::of(any::<[u8; 32]>()))
        .prop_map(|(bucket, digest, scope)| OutcomeRef { bucket, digest, scope })
}

pub(crate) fn response_head() -> impl Strategy<Value = ResponseHead> {
    (number(), option::of(text()), number(), number(), any::<bool>()).prop_map(
        |(features, instance, max_payload, credit, end)| {
            let mut head = ResponseHead::new();
            head.features = features;
            head.instance = instance;
            head.max_payload = max_payload;
            head.credit = credit;
            head.end = end;
            head
        },
    )
}

/// Generates frames as decoding returns them.
pub(crate) fn any_frame() -> impl Strategy<Value = Frame> {
    let request =
        (request_head(), request_parts(), body(), trailers()).prop_map(|(head, parts, body, trailers)| {
            let trailers = trailers.filter(|_| head.end);
            let body = body_besides(&head, body);
            Frame::Request(Box::new(RequestFrame { head, parts, body, trailers }))
        });
    let response =
        (response_head(), response_parts(), body(), trailers()).prop_map(|(head, parts, body, trailers)| {
            let trailers = trailers.filter(|_| head.end);
            Frame::Response(Box::new(ResponseFrame { head, parts, body, trailers }))
        });
    let accept = (option::of(text()), number(), number()).prop_map(|(instance, max_payload, credit)| {
        Frame::Accept(Accept { version: VERSION, instance, max_payload, credit })
    });
    let data =
        (1..=u64::MAX, body(), any::<bool>(), trailers()).prop_map(|(sequence, body, end, trailers)| {
            Frame::Data(Data { sequence, body, end, trailers: trailers.filter(|_| end) })
        });
    let credit = (number(), any::<bool>(), number())
        .prop_map(|(offset, stop, sent)| Frame::Credit(Credit { offset, stop, sent }));
    let reset = (number(), text(), any::<bool>())
        .prop_map(|(code, text, ran)| Frame::Reset(Reset { code: ResetCode::from(code), text, ran }));
    let working =
        option::of(text()).prop_map(|instance| Frame::Working(Working { version: VERSION, instance }));
    let refused =
        (number(), millis(), vec(any::<u16>(), 0..16)).prop_map(|(reason, retry_after, versions)| {
            Frame::Refused(Refused { reason: Refusal::from(reason), retry_after, versions })
        });
    prop_oneof![request, response, accept, data, credit, reset, Just(Frame::Probe), working, refused]
}
