//! The codec, compared with one that goes through an owned struct: a request with 12 fields and a body of 1 KiB.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group};
use http::{HeaderName, HeaderValue, Method, Request, Version, request};
use minicbor::{Decode, Encode};
use narun_core::fields::Edit;
use narun_core::frame::{Data, Frame, RequestFrame, RequestHead, ResponseFrame, ResponseHead};
use narun_core::{ExchangeId, Limits};

/// The message of a straightforward codec.
#[derive(Encode, Decode)]
struct HttpMessage {
    #[n(0)]
    id: String,
    #[n(1)]
    method: String,
    #[n(2)]
    target: String,
    #[n(3)]
    version: u8,
    #[n(4)]
    fields: Vec<Field>,
    #[cbor(n(5), with = "minicbor::bytes")]
    body: Vec<u8>,
}

#[derive(Encode, Decode)]
struct Field {
    #[n(0)]
    name: String,
    #[cbor(n(1), with = "minicbor::bytes")]
    value: Vec<u8>,
}

impl HttpMessage {
    fn new(id: ExchangeId, parts: &request::Parts, body: &[u8]) -> Self {
        let field = |(name, value): (&HeaderName, &HeaderValue)| Field {
            name: name.as_str().to_owned(),
            value: value.as_bytes().to_owned(),
        };
        Self {
            id: id.to_string(),
            method: parts.method.to_string(),
            target: parts.uri.to_string(),
            version: 11,
            fields: parts.headers.iter().map(field).collect(),
            body: body.to_owned(),
        }
    }

    fn into_request(self) -> Request<Bytes> {
        let mut request = Request::new(self.body.into());
        *request.method_mut() = self.method.parse::<Method>().expect("a method");
        *request.uri_mut() = self.target.parse().expect("a target");
        *request.version_mut() = Version::HTTP_11;
        for Field { name, value } in self.fields {
            let name = HeaderName::try_from(name).expect("a name");
            request.headers_mut().append(name, HeaderValue::try_from(value).expect("a value"));
        }
        request
    }
}

const BODY: &[u8] = &[b'x'; 1024];

/// The fields of a browser's request.
const FIELDS: &[(&str, &str)] = &[
    ("host", "shop.example.com"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("content-type", "application/json"),
    ("content-length", "1024"),
    ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
    ("authorization", "Bearer 0123456789abcdef0123456789abcdef"),
    ("x-request-id", "7b1f4a5e-6d1c-4c89-9f43-2f1c2a3b4c5d"),
    ("x-forwarded-for", "192.0.2.17"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
];

fn parts() -> request::Parts {
    let request = Request::post("/api/v1/orders/4711?expand=items&currency=EUR").version(Version::HTTP_11);
    let request = FIELDS.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(()).expect("a request").into_parts().0
}

fn head() -> RequestHead {
    let mut head = RequestHead::new(ExchangeId::from_bytes([7; 16]));
    (head.credit, head.max_payload) = (1 << 20, 1 << 20);
    head
}

fn direct_encode(head: &RequestHead, parts: &request::Parts, limits: &Limits) -> Bytes {
    head.encode(black_box(parts), Edit::default(), black_box(BODY), None, limits).expect("within limits")
}

fn owned_encode(id: ExchangeId, parts: &request::Parts) -> Bytes {
    let message = HttpMessage::new(id, black_box(parts), black_box(BODY));
    minicbor::to_vec(message).expect("a vector takes everything").into()
}

fn direct_decode(payload: &Bytes, limits: &Limits) -> Request<Bytes> {
    let RequestFrame { parts, body, .. } = RequestFrame::decode(black_box(payload), limits).expect("a frame");
    Request::from_parts(parts, body)
}

fn owned_decode(payload: &Bytes) -> Request<Bytes> {
    minicbor::decode::<HttpMessage>(black_box(payload)).expect("a message").into_request()
}

fn encode(c: &mut Criterion) {
    let (head, parts, limits) = (head(), parts(), Limits::default());
    let mut group = c.benchmark_group("encode");
    group.bench_function("direct", |b| b.iter(|| direct_encode(&head, &parts, &limits)));
    group.bench_function("owned", |b| b.iter(|| owned_encode(head.id, &parts)));
    group.finish();
}

fn decode(c: &mut Criterion) {
    let (head, parts, limits) = (head(), parts(), Limits::default());
    let (direct, owned) = (direct_encode(&head, &parts, &limits), owned_encode(head.id, &parts));
    let mut group = c.benchmark_group("decode");
    group.bench_function("direct", |b| b.iter(|| direct_decode(&direct, &limits)));
    group.bench_function("owned", |b| b.iter(|| owned_decode(&owned)));
    group.finish();
}

type Way<'a> = &'a dyn Fn();

/// Prints the ratio of the best times of both ways. The best time is what a busy machine distorts least.
fn ratios() {
    let (head, parts, limits) = (head(), parts(), Limits::default());
    let (direct, owned) = (direct_encode(&head, &parts, &limits), owned_encode(head.id, &parts));
    let ways: [(_, Way<'_>, Way<'_>); 2] = [
        ("encode", &|| drop(direct_encode(&head, &parts, &limits)), &|| drop(owned_encode(head.id, &parts))),
        ("decode", &|| drop(direct_decode(&direct, &limits)), &|| drop(owned_decode(&owned))),
    ];
    for (name, direct, owned) in ways {
        let mut best = [Duration::MAX; 2];
        for _ in 0..3_000 {
            for (best, way) in best.iter_mut().zip([direct, owned]) {
                let start = Instant::now();
                (0..50).for_each(|_| way());
                *best = start.elapsed().min(*best);
            }
        }
        let [direct, owned] = best.map(|best| best.as_secs_f64() / 50.0 * 1e9);
        println!(
            "{name}: {direct:.0} ns directly, {owned:.0} ns through an owned struct: {:.2}",
            direct / owned
        );
    }
}

/// Other steps of every request, for comparison between versions.
fn others(c: &mut Criterion) {
    let limits = Limits::default();
    let first = direct_encode(&head(), &parts(), &limits);
    let mut group = c.benchmark_group("others");
    group.bench_function("another attempt", |b| b.iter(|| RequestHead::with_attempt(black_box(&first), 1)));
    let response =
        http::Response::builder().header("content-type", "text/plain").body(()).expect("a response");
    let (response, ()) = response.into_parts();
    let encode = || ResponseHead::new().encode(&response, Edit::default(), BODY, None, &limits);
    group.bench_function("encode a response", |b| b.iter(encode));
    let response = encode().expect("within limits");
    group.bench_function("decode a response", |b| {
        b.iter(|| ResponseFrame::decode(black_box(&response), &limits));
    });
    let data = Data { sequence: 1, body: vec![0; 64 * 1024].into(), end: false, trailers: None };
    group.throughput(Throughput::Bytes(64 * 1024));
    group.bench_function("encode 64 KiB of data", |b| b.iter(|| data.encode()));
    group.bench_function("decode 64 KiB of data", |b| {
        b.iter_batched_ref(|| data.encode(), |data| Frame::decode(data, &limits), BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, encode, decode, others);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    if std::env::args().any(|argument| argument == "--bench") {
        ratios();
    }
}
