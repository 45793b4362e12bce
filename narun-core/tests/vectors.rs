//! The golden vectors, checked against this implementation and against the CDDL. Other implementations can use them too.

mod describe;

use std::fmt::Write;

use bytes::Bytes;
use cddl_cat::validate_cbor_bytes;
use data_encoding::HEXLOWER;
use narun_core::Limits;
use narun_core::frame::{DecodeError, Frame};

use describe::{describe, encode};

const VECTORS: &str = include_str!("../spec/vectors.txt");
const CDDL: &str = include_str!("../spec/exchange.cddl");

/// Vectors that are refused for reasons that CDDL cannot express: bytes after the frame, the form of a length, repeated
/// keys, counts, and values that depend on another key.
const BEYOND_CDDL: &[&str] = &[
    "bytes-after-frame",
    "bytes-after-body",
    "indefinite-array",
    "indefinite-head",
    "indefinite-body",
    "indefinite-fields",
    "indefinite-unknown",
    "key-twice",
    "unknown-key-twice",
    "request-without-target",
    "request-trailers-before-end",
    "request-object-and-body",
    "request-object-before-end",
    "data-trailers-before-end",
];

struct Vector {
    test: &'static str,
    name: &'static str,
    payload: Bytes,
    text: String,
}

fn vectors() -> Vec<Vector> {
    let lines = VECTORS.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>();
    lines
        .split(|line| line.is_empty())
        .filter_map(|block| {
            let (first, rest) = block.split_first()?;
            let (test, name) = first.split_once(' ').expect("a block begins with a test and a name");
            let (hex, text): (Vec<&str>, Vec<&str>) = rest.iter().partition(|line| line.starts_with("hex"));
            let hex = hex.iter().map(|line| line.trim_start_matches("hex").trim()).collect::<String>();
            let payload = HEXLOWER.decode(hex.as_bytes()).expect("hex").into();
            let text = text.iter().fold(String::new(), |text, line| text + line + "\n");
            Some(Vector { test, name, payload, text })
        })
        .collect()
}

#[test]
fn frames_decode_to_their_description() {
    for Vector { test, name, payload, text } in vectors() {
        if test != "refuse" {
            let frame = Frame::decode(&payload, &Limits::default()).expect(name);
            assert_eq!(describe(&frame), text, "{name}");
        }
    }
}

#[test]
fn canonical_frames_encode_to_the_same_bytes_and_others_do_not() {
    for Vector { test, name, payload, .. } in vectors() {
        if test != "refuse" {
            let frame = Frame::decode(&payload, &Limits::default()).expect(name);
            let again = encode(&frame);
            assert_eq!(again == payload, test == "frame", "{name}: {}", HEXLOWER.encode(&again));
        }
    }
}

#[test]
fn bad_frames_are_refused() {
    for Vector { test, name, payload, text } in vectors() {
        if test == "refuse" {
            let why = match Frame::decode(&payload, &Limits::default()) {
                Err(DecodeError::Malformed(_)) => "malformed".to_owned(),
                Err(DecodeError::Kind(kind)) => format!("kind {kind}"),
                Err(DecodeError::Version(version)) => format!("version {version}"),
                Err(DecodeError::TooLarge { .. }) => "too large".to_owned(),
                Err(DecodeError::Http(what)) => format!("http {what}"),
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(format!("why {why}\n"), text, "{name}");
        }
    }
}

/// A valid vector with items that cddl-cat does not support: a tag and an unassigned simple value.
const BEYOND_CDDL_CAT: &str = "probe-with-tag-and-simple-value";

#[test]
fn the_cddl_accepts_and_refuses_the_same_vectors() {
    let mut wrong = String::new();
    for Vector { test, name, payload, text } in vectors() {
        let valid = validate_cbor_bytes("frame", CDDL, &payload);
        // The CDDL does not cover the rules of HTTP, nor most limits.
        let expected = test != "refuse"
            || BEYOND_CDDL.contains(&name)
            || (text.starts_with("why http") && !text.contains("version") && !text.contains("status"))
            || text == "why too large\n" && name.contains("-long-");
        if valid.is_ok() != expected && name != BEYOND_CDDL_CAT {
            writeln!(wrong, "{name}: {valid:?}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn there_are_vectors_of_every_kind() {
    let vectors = vectors();
    for kind in ["REQUEST", "RESPONSE", "ACCEPT", "DATA", "CREDIT", "RESET", "PROBE", "WORKING", "REFUSED"] {
        let line = format!("kind {kind}\n");
        assert!(vectors.iter().filter(|vector| vector.text.starts_with(&line)).count() > 1, "{kind}");
    }
    let mut names: Vec<_> = vectors.iter().map(|vector| vector.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), vectors.len(), "a name is used twice");
    assert!(BEYOND_CDDL.iter().all(|name| names.contains(name)));
}
