//! An app sees the client's address as the gateway does, whatever fields a stranger sends.

use http::{HeaderName, HeaderValue, Request, Uri};
use narun_core::Limits;
use narun_core::frame::RequestFrame;
use narun_gateway::fuzzing::forwarded;
use narun_gateway::{Cidr, Peer};

use crate::take;

/// Names of fields that a line of the input may be the value of.
const NAMES: [&str; 8] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-request-id",
    "connection",
    "host",
];

/// The first byte says whether the peer is known and trusted, the first byte of each line which field it is the value of.
pub fn check(mut input: &[u8]) {
    let [choice] = take(&mut input);
    let (known, trusted) = (choice & 1 == 1, choice & 2 == 2);
    let mut request = Request::new(());
    *request.uri_mut() = Uri::from_static("/path");
    for line in input.split(|byte| *byte == b'\n').take(20) {
        let mut line = line;
        let [name] = take(&mut line);
        let name = HeaderName::from_static(NAMES[usize::from(name) % NAMES.len()]);
        if let Ok(value) = HeaderValue::from_bytes(line) {
            request.headers_mut().append(name, value);
        }
    }
    let (parts, ()) = request.into_parts();
    let peer = Peer::new(([192, 0, 2, 1], 1234).into(), http::uri::Scheme::HTTPS);
    let proxies: Vec<Cidr> = trusted.then(|| "192.0.2.0/24".parse().expect("a block")).into_iter().collect();
    let Ok(frame) = forwarded(&parts, known.then_some(&peer), proxies) else { return };
    let frame = RequestFrame::decode(&frame, &Limits::default()).expect("an encoded frame decodes");
    let seen = |name: &str| frame.parts.headers.get_all(name).iter().cloned().collect::<Vec<_>>();
    assert_eq!(seen("x-request-id").len(), 1);
    assert!(seen("connection").is_empty());
    let (addresses, elements) = (seen("x-forwarded-for"), seen("forwarded"));
    if known {
        assert_eq!(addresses.last().expect("the peer's address"), "192.0.2.1");
        assert!(elements.last().expect("the peer's element").as_bytes().starts_with(b"for=192.0.2.1"));
    }
    if !(known && trusted) {
        assert_eq!(addresses.len(), usize::from(known));
        assert!(elements.len() <= 1 && seen("x-forwarded-host").len() <= 1);
        assert_eq!(seen("x-forwarded-proto").len(), usize::from(known));
        assert!(seen("x-forwarded-port").is_empty());
    }
}
