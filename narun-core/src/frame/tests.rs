use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderMap, Request, Response, Version, request, response};

use super::{
    Accept, Credit, Data, DecodeError, EncodeError, Frame, Refusal, Refused, RequestFrame, RequestHead,
    Reset, ResetCode, ResponseFrame, ResponseHead, VERSION, Working, encode_probe,
};
use crate::fields::Edit;
use crate::{ExchangeId, Limits};

const ID: ExchangeId = ExchangeId::from_bytes(*b"0123456789abcdef");

fn request_parts(request: request::Builder) -> request::Parts {
    request.body(()).unwrap().into_parts().0
}

fn response_parts(response: response::Builder) -> response::Parts {
    response.body(()).unwrap().into_parts().0
}

fn encode(head: &RequestHead, parts: &request::Parts, body: &[u8]) -> Bytes {
    head.encode(parts, Edit::default(), body, None, &Limits::default()).unwrap()
}

fn decode(payload: &[u8]) -> Result<Frame, DecodeError> {
    Frame::decode(&Bytes::copy_from_slice(payload), &Limits::default())
}

#[test]
fn a_request_crosses_with_all_its_parts() {
    let parts = request_parts(
        Request::post("https://example.com/a/b?c=%20d")
            .version(Version::HTTP_2)
            .header("accept", "*/*")
            .header("x-odd", &b"\xff\x80"[..])
            .header("x-odd", ""),
    );
    let head = RequestHead {
        attempt: 3,
        scheme: Scheme::HTTPS,
        features: 1 << 40,
        peer: Some("[2001:db8::1]:65535".parse().unwrap()),
        head_timeout: Some(Duration::from_micros(1500)),
        total_timeout: Some(Duration::ZERO),
        credit: 1 << 20,
        max_payload: 1 << 30,
        ..RequestHead::new(ID)
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers.insert("content-length", "5".parse().unwrap());
    let payload =
        head.encode(&parts, Edit::default(), &b"hello"[..], Some(&trailers), &Limits::default()).unwrap();

    let frame = RequestFrame::decode(&payload, &Limits::default()).unwrap();
    assert_eq!(frame.head, RequestHead { head_timeout: Some(Duration::from_millis(2)), ..head });
    assert_eq!(frame.parts.method, parts.method);
    assert_eq!(frame.parts.uri, parts.uri);
    assert_eq!(frame.parts.version, parts.version);
    assert_eq!(frame.parts.headers, parts.headers);
    assert_eq!(frame.body, "hello");
    trailers.remove("content-length");
    assert_eq!(frame.trailers, Some(trailers));
}

#[test]
fn a_small_request_is_small() {
    let payload = encode(&RequestHead::new(ID), &request_parts(Request::get("/")), b"");
    assert_eq!(payload, &b"\x82\x01\xa5\x09\x00\x03\xf5\x08\x500123456789abcdef\x0a\x63GET\x0b\x61/"[..]);
}

#[test]
fn uris_keep_their_form() {
    for uri in ["/", "/?", "/a//b?x=%2f", "*", "http://h", "http://h?q", "http://u:p@h:80/p?q", "h:443"] {
        let parts = request_parts(Request::builder().uri(uri));
        let payload = encode(&RequestHead::new(ID), &parts, b"");
        let frame = RequestFrame::decode(&payload, &Limits::default()).unwrap();
        assert_eq!(frame.parts.uri, parts.uri, "{uri}");
        assert_eq!(frame.parts.uri.scheme(), parts.uri.scheme(), "{uri}");
        assert_eq!(frame.parts.uri.authority(), parts.uri.authority(), "{uri}");
    }
}

#[test]
fn texts_that_are_not_targets_are_refused() {
    for target in ["", "#", "?", "a", "/#", "/a#b", "/ ", "*#", "*/", "h:443", "http://h/"] {
        let mut payload = b"\x82\x01\xa3\x09\x00\x03\xf5\x0b".to_vec();
        payload.push(0x60 | target.len() as u8);
        payload.extend_from_slice(target.as_bytes());
        assert_eq!(decode(&payload).unwrap_err(), DecodeError::Http("target"), "{target:?}");
    }
}

#[test]
fn an_attempt_is_replaced_in_place() {
    let parts = request_parts(Request::get("/").header("a", "b"));
    let first = RequestHead::new(ID);
    let payload = encode(&first, &parts, b"body");
    for attempt in [0, 1, 23, 24, 255] {
        let again = RequestHead::with_attempt(&payload, attempt).unwrap();
        assert_eq!(again, encode(&RequestHead { attempt, ..first.clone() }, &parts, b"body"));
        assert_eq!(RequestHead::with_attempt(&again, 0).unwrap(), payload);
    }
    assert!(RequestHead::with_attempt(&encode_probe(), 1).is_err());
    assert!(RequestHead::with_attempt(&payload.slice(..4), 1).is_err());
}

#[test]
fn a_response_crosses_with_all_its_parts() {
    let parts =
        response_parts(Response::builder().status(299).header("set-cookie", "a").header("set-cookie", "b"));
    let head = ResponseHead {
        instance: Some("one".to_owned()),
        features: 7,
        max_payload: 1,
        credit: u64::MAX,
        end: false,
        ..ResponseHead::new()
    };
    let payload = head.encode(&parts, Edit::default(), &b"hello"[..], None, &Limits::default()).unwrap();
    let frame = ResponseFrame::decode(&payload, &Limits::default()).unwrap();
    assert_eq!(frame.head, head);
    assert_eq!(frame.parts.status, parts.status);
    assert_eq!(frame.parts.headers, parts.headers);
    assert_eq!(frame.body, "hello");
    assert_eq!(frame.trailers, None);
}

#[test]
fn control_frames_cross() {
    let accept = Accept { version: VERSION, instance: Some(String::new()), max_payload: 9, credit: 70_000 };
    assert!(matches!(decode(&accept.encode()), Ok(Frame::Accept(frame)) if frame == accept));

    let credit = Credit { offset: 24, stop: true, sent: 3 };
    assert!(matches!(decode(&credit.encode()), Ok(Frame::Credit(frame)) if frame == credit));

    for code in 1..12 {
        let reset = Reset { code: ResetCode::from(code), text: "why".to_owned(), ran: code % 2 == 0 };
        assert!(matches!(decode(&reset.encode()), Ok(Frame::Reset(frame)) if frame == reset));
        assert_eq!(u64::from(ResetCode::from(code)), code);
        assert_eq!(u64::from(Refusal::from(code)), code);
    }

    assert!(matches!(decode(&encode_probe()), Ok(Frame::Probe)));

    let working = Working { version: VERSION, instance: Some("two".to_owned()) };
    assert!(matches!(decode(&working.encode()), Ok(Frame::Working(frame)) if frame == working));

    let refused = Refused {
        reason: Refusal::Version,
        retry_after: Some(Duration::from_millis(1234)),
        versions: vec![1, 2, 65_535],
    };
    assert!(matches!(decode(&refused.encode()), Ok(Frame::Refused(frame)) if frame == refused));
}

#[test]
fn data_crosses_with_trailers() {
    let mut trailers = HeaderMap::new();
    trailers.append("a", "b".parse().unwrap());
    trailers.append("a", "c".parse().unwrap());
    let data = Data { sequence: 300, body: Bytes::from_static(b"x"), end: true, trailers: Some(trailers) };
    assert!(matches!(decode(&data.encode()), Ok(Frame::Data(frame)) if frame == data));
    let unfinished = Data { end: false, ..data };
    assert!(matches!(decode(&unfinished.encode()), Ok(Frame::Data(frame)) if frame.trailers.is_none()));
}

#[test]
fn texts_are_cut_between_characters() {
    let reset = Reset { code: ResetCode::Internal, text: "ä".repeat(200).replacen('ä', "a", 1), ran: true };
    let Ok(Frame::Reset(frame)) = decode(&reset.encode()) else { panic!("no reset") };
    assert_eq!(frame.text.len(), 255);
    assert!(reset.text.starts_with(&frame.text));
}

#[test]
fn fields_are_edited_while_they_are_encoded() {
    let parts = request_parts(
        Request::get("/")
            .header("connection", "close, X-Mine")
            .header("x-mine", "1")
            .header("te", "trailers")
            .header("forwarded", "for=me")
            .header("x-other", "2"),
    );
    let edit = Edit {
        without: &[http::header::FORWARDED],
        with: &[
            (http::HeaderName::from_static("x-mine"), "3".parse().unwrap()),
            (http::header::UPGRADE, "h2c".parse().unwrap()),
        ],
        ..Edit::default()
    };
    let payload = RequestHead::new(ID).encode(&parts, edit, &b""[..], None, &Limits::default()).unwrap();
    let frame = RequestFrame::decode(&payload, &Limits::default()).unwrap();
    let fields: Vec<_> =
        frame.parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(fields, [("x-other", &b"2"[..]), ("x-mine", b"3")]);
}

/// The fields of a request after it has crossed with this edit, as `name: value`.
fn edited(parts: &request::Parts, edit: Edit<'_>) -> Vec<String> {
    let payload = RequestHead::new(ID).encode(parts, edit, &b""[..], None, &Limits::default()).unwrap();
    let fields = RequestFrame::decode(&payload, &Limits::default()).unwrap().parts.headers;
    fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
}

#[test]
fn fields_are_left_out_by_the_beginning_of_their_names() {
    let parts = request_parts(
        Request::get("/").header("x-forwarded-for", "1").header("x-forwarded", "2").header("forwarded", "3"),
    );
    let edit = Edit { without_prefix: Some("x-forwarded-"), ..Edit::default() };
    assert_eq!(edited(&parts, edit), ["x-forwarded: 2", "forwarded: 3"]);
}

/// CGI gives both to the app as the same variable (RFC 3875, 4.1.18).
#[test]
fn an_underscore_does_not_hide_the_name_of_a_field_that_is_left_out() {
    let forged = ["x_forwarded_for", "x-forwarded_host", "x_forwarded-proto", "x_request_id", "x-request_id"];
    let request = forged.iter().fold(Request::get("/"), |request, name| request.header(*name, "1"));
    let parts = request_parts(request.header("x_forwarded", "2").header("x_request_ids", "3"));
    let edit = Edit {
        without: &[crate::fields::X_REQUEST_ID],
        without_prefix: Some("x-forwarded-"),
        ..Edit::default()
    };
    assert_eq!(edited(&parts, edit), ["x_forwarded: 2", "x_request_ids: 3"]);
    assert_eq!(edited(&parts, Edit::default()).len(), forged.len() + 2);
}

#[test]
fn fields_to_keep_cross_although_connection_names_them() {
    let parts = request_parts(
        Request::get("/")
            .header("connection", "x-kept, x-other")
            .header("x-kept", "1")
            .header("x-other", "2"),
    );
    let keep = [http::HeaderName::from_static("x-kept")];
    assert_eq!(edited(&parts, Edit { keep: &keep, ..Edit::default() }), ["x-kept: 1"]);
}

#[test]
fn an_edit_replaces_the_host() {
    for hosts in [&[][..], &["a.example"], &["a.example", "b.example"]] {
        let request = hosts
            .iter()
            .fold(Request::get("/").header("a", "1"), |request, host| request.header("host", *host));
        let parts = request_parts(request.header("connection", "host"));
        assert_eq!(edited(&parts, Edit { host: Some("c:1"), ..Edit::default() }), ["host: c:1", "a: 1"]);
    }
}

/// RFC 9113, 8.2.3.
#[test]
fn cookies_are_joined() {
    let long = "c".repeat(300);
    for (cookies, joined) in [
        (&[][..], None),
        (&["a=1"], Some("a=1".to_owned())),
        (&["a=1", "b=2", ""], Some("a=1; b=2; ".to_owned())),
        (&["a=1", &long], Some(format!("a=1; {long}"))),
    ] {
        let request = cookies
            .iter()
            .fold(Request::get("/").header("a", "1"), |request, cookie| request.header("cookie", *cookie));
        let parts = request_parts(request.header("z", "2"));
        let fields = edited(&parts, Edit { join_cookies: true, ..Edit::default() });
        let cookie = joined.map(|joined| format!("cookie: {joined}"));
        let expected = [Some("a: 1".to_owned()), cookie, Some("z: 2".to_owned())];
        assert_eq!(fields, expected.into_iter().flatten().collect::<Vec<_>>());
        assert_eq!(edited(&parts, Edit::default()).len(), 2 + cookies.len());
    }
}

#[test]
fn limits_hold_when_encoding() {
    let encode = |parts: &request::Parts, limits: &Limits| {
        RequestHead::new(ID).encode(parts, Edit::default(), &b"body"[..], None, limits).map(|_| ())
    };
    let parts = request_parts(Request::get("/long").header("a", "1").header("b", "2"));
    let default = Limits::default();
    assert_eq!(encode(&parts, &Limits { fields: 2, target: 5, ..default }), Ok(()));
    assert_eq!(
        encode(&parts, &Limits { fields: 1, ..default }),
        Err(EncodeError::TooManyFields { limit: 1 })
    );
    assert_eq!(
        encode(&parts, &Limits { target: 4, ..default }),
        Err(EncodeError::TargetTooLong { limit: 4 })
    );
    assert_eq!(
        encode(&parts, &Limits { head: 20, ..default }),
        Err(EncodeError::FieldsTooLarge { limit: 20 })
    );
}

#[test]
fn limits_hold_when_decoding() {
    let parts = request_parts(Request::get("/long").header("a", "1").header("b", "2"));
    let payload = encode(&RequestHead::new(ID), &parts, &[0; 100]);
    let default = Limits::default();
    let too_large = |what, limit| DecodeError::TooLarge { what, limit };
    let decode = |limits| RequestFrame::decode(&payload, &limits).map(|_| ());
    let head = payload.len() - 102;
    assert_eq!(decode(Limits { fields: 2, target: 5, head, ..default }), Ok(()));
    assert_eq!(decode(Limits { fields: 1, ..default }), Err(too_large("fields", 1)));
    assert_eq!(decode(Limits { target: 4, ..default }), Err(too_large("target", 4)));
    assert_eq!(decode(Limits { head: head - 1, ..default }), Err(too_large("head", head - 1)));
    assert_eq!(decode(Limits { frame: payload.len(), ..default }), Ok(()));
    let frame = payload.len() - 1;
    assert_eq!(decode(Limits { frame, ..default }), Err(too_large("frame", frame)));
    assert_eq!(decode(Limits { frame, ..default }.stored()), Ok(()));
}

#[test]
fn frames_over_the_inline_limit_are_refused() {
    let default = Limits::default();
    let parts = Response::new(()).into_parts().0;
    let response = |body: usize| {
        let body = vec![0; body];
        ResponseHead::new().encode(&parts, Edit::default(), &body[..], None, &default).unwrap()
    };
    let data = |body| Data { sequence: 1, body: vec![0; body].into(), end: true, trailers: None }.encode();
    for payload in [response(900_000), response(65_536), data(400_000), data(65_536)] {
        let refused = DecodeError::TooLarge { what: "frame", limit: 65_536 };
        assert_eq!(decode(&payload).unwrap_err(), refused);
        // A durable response may be as large as the server permits.
        assert!(Frame::decode(&payload, &default.stored()).is_ok());
    }
    for payload in [response(65_000), data(65_000)] {
        assert!(decode(&payload).is_ok());
    }
}

#[test]
fn a_foreign_version_is_recognized_whatever_follows() {
    assert_eq!(decode(b"\x85\x01\xa2\x00\x02\x61a").unwrap_err(), DecodeError::Version(2));
    assert_eq!(decode(b"\x82\x01\xa1\x00\x1a\x00\x01\x00\x01").unwrap_err(), DecodeError::Version(65_537));
    assert_eq!(decode(b"\x82\x0a\xa0").unwrap_err(), DecodeError::Kind(10));
}

#[test]
fn unknown_keys_are_skipped() {
    // Key 20 has a nest of all types, and key 1000 a number.
    let nest = b"\x85\x20\xf9\x3c\x00\xc1\x1a\x00\x00\x00\x01\xa1\x61a\x81\xf6\xf8\xff";
    let mut payload = b"\x82\x05\xa3\x14".to_vec();
    payload.extend_from_slice(nest);
    payload.extend_from_slice(b"\x19\x03\xe8\x07\x05\x18\x64");
    assert!(matches!(decode(&payload), Ok(Frame::Credit(Credit { offset: 100, stop: false, sent: 0 }))));
}

#[test]
fn payloads_that_are_not_frames_are_refused() {
    for payload in [
        &b""[..],
        b"\x80",
        b"\x81\x07",
        b"\x82\x07",
        b"\xa0",
        b"\x82\x07\x80",
        b"\x9f\x07\xa0\xff",
        b"\x82\x07\xbf\xff",
        b"\x82\x07\xa0\x00",
        b"\x83\x07\xa0\x40",
        b"\x82\x07\xa1\x61a\x00",
        b"\x82\x05\xa2\x05\x01\x05\x01",
        b"\x82\x05\xa1\x14\x9f\xff",
        b"\x82\x05\xa1\x14\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x82\x06\xa0",
        b"\x82\x04\xa0",
        b"\x82\x04\xa2\x08\x01\x04\x82\x61a\x41b",
        b"\x83\x04\xa1\x08\x01\x5f\x41a\xff",
        b"\x83\x04\xa1\x08\x01\x42a",
        b"\x83\x04\xa1\x08\x01\x41ab",
        b"\x82\x09\xa0",
        b"HTTP/1.1 200 OK",
        b"{\"status\": 200}",
    ] {
        let result = decode(payload);
        assert!(matches!(result, Err(DecodeError::Malformed(_))), "{payload:x?}: {result:?}");
    }
}
