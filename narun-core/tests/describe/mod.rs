//! The description of a frame, in the text form of the vectors, and its encoding.

use std::fmt::{Display, Write};
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Version};
use narun_core::Limits;
use narun_core::fields::Edit;
use narun_core::frame::{Frame, RequestFrame, ResponseFrame, encode_probe};

/// Encodes a frame of any kind.
pub(crate) fn encode(frame: &Frame) -> Bytes {
    let limits = Limits::default();
    match frame {
        Frame::Request(frame) => {
            let RequestFrame { head, parts, body, trailers } = &**frame;
            head.encode(parts, Edit::default(), &body[..], trailers.as_ref(), &limits).expect("within limits")
        }
        Frame::Response(frame) => {
            let ResponseFrame { head, parts, body, trailers } = &**frame;
            head.encode(parts, Edit::default(), &body[..], trailers.as_ref(), &limits).expect("within limits")
        }
        Frame::Accept(frame) => frame.encode(),
        Frame::Data(frame) => frame.encode(),
        Frame::Credit(frame) => frame.encode(),
        Frame::Reset(frame) => frame.encode(),
        Frame::Probe => encode_probe(),
        Frame::Working(frame) => frame.encode(),
        Frame::Refused(frame) => frame.encode(),
    }
}

/// Returns the lines that describe a frame of any kind.
pub(crate) fn describe(frame: &Frame) -> String {
    let mut lines = Lines::default();
    match frame {
        Frame::Request(frame) => request(&mut lines, frame),
        Frame::Response(frame) => response(&mut lines, frame),
        Frame::Accept(frame) => {
            lines.line("kind", "ACCEPT");
            lines.unless(&0, "credit", &frame.credit);
            lines.unless(&0, "max_payload", &frame.max_payload);
            lines.quoted("instance", frame.instance.as_ref());
        }
        Frame::Data(frame) => {
            lines.line("kind", "DATA");
            lines.unless(&false, "end", &frame.end);
            lines.fields("trailer", frame.trailers.as_ref());
            lines.line("sequence", frame.sequence);
            lines.quoted("body", Some(&frame.body).filter(|body| !body.is_empty()));
        }
        Frame::Credit(frame) => {
            lines.line("kind", "CREDIT");
            lines.unless(&0, "credit", &frame.offset);
            lines.unless(&false, "stop", &frame.stop);
            lines.unless(&0, "sent", &frame.sent);
        }
        Frame::Reset(frame) => {
            lines.line("kind", "RESET");
            lines.line("code", u64::from(frame.code));
            lines.quoted("text", Some(&frame.text).filter(|text| !text.is_empty()));
            lines.unless(&true, "ran", &frame.ran);
        }
        Frame::Probe => lines.line("kind", "PROBE"),
        Frame::Working(frame) => {
            lines.line("kind", "WORKING");
            lines.quoted("instance", frame.instance.as_ref());
        }
        Frame::Refused(frame) => {
            lines.line("kind", "REFUSED");
            lines.line("reason", u64::from(frame.reason));
            lines.millis("retry_after", frame.retry_after);
            if !frame.versions.is_empty() {
                let versions: Vec<_> = frame.versions.iter().map(u16::to_string).collect();
                lines.line("versions", versions.join(" "));
            }
        }
    }
    lines.0
}

fn request(lines: &mut Lines, RequestFrame { head, parts, body, trailers }: &RequestFrame) {
    lines.line("kind", "REQUEST");
    lines.unless(&0, "attempt", &head.attempt);
    lines.unless(&0, "features", &head.features);
    lines.fields("field", Some(&parts.headers));
    lines.unless(&false, "end", &head.end);
    lines.fields("trailer", trailers.as_ref());
    lines.unless(&0, "credit", &head.credit);
    lines.unless(&0, "max_payload", &head.max_payload);
    lines.line("id", HEXLOWER.encode(head.id.as_bytes()));
    lines.quoted("method", Some(&parts.method.as_str()));
    lines.quoted("target", parts.uri.path_and_query().map(PathAndQuery::as_str));
    lines.quoted("authority", parts.uri.authority().map(|authority| authority.as_str()));
    lines.quoted("scheme", Some(&head.scheme).filter(|scheme| **scheme != Scheme::HTTP).map(Scheme::as_str));
    match parts.version {
        Version::HTTP_09 => lines.line("http", 9),
        Version::HTTP_10 => lines.line("http", 10),
        Version::HTTP_2 => lines.line("http", 20),
        Version::HTTP_3 => lines.line("http", 30),
        _ => {}
    }
    if let Some(peer) = head.peer {
        lines.line("peer", peer);
    }
    lines.millis("head_ms", head.head_timeout);
    lines.millis("total_ms", head.total_timeout);
    if let Some(object) = &head.object {
        let (bucket, name) = (quote(object.bucket.as_bytes()), quote(object.name.as_bytes()));
        lines.line(
            "object",
            format_args!("{bucket} {name} {} {}", object.size, HEXLOWER.encode(&object.digest)),
        );
    }
    if let Some(outcome) = &head.outcome {
        let scope = outcome.scope.map(|scope| format!(" {}", HEXLOWER.encode(&scope))).unwrap_or_default();
        let digest = HEXLOWER.encode(&outcome.digest);
        lines.line("outcome", format_args!("{} {digest}{scope}", quote(outcome.bucket.as_bytes())));
    }
    lines.quoted("body", Some(&body).filter(|body| !body.is_empty()));
}

fn response(lines: &mut Lines, ResponseFrame { head, parts, body, trailers }: &ResponseFrame) {
    lines.line("kind", "RESPONSE");
    lines.unless(&0, "features", &head.features);
    lines.fields("field", Some(&parts.headers));
    lines.unless(&false, "end", &head.end);
    lines.fields("trailer", trailers.as_ref());
    lines.unless(&0, "credit", &head.credit);
    lines.unless(&0, "max_payload", &head.max_payload);
    lines.line("status", parts.status.as_u16());
    lines.quoted("instance", head.instance.as_ref());
    lines.quoted("body", Some(&body).filter(|body| !body.is_empty()));
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, key: &str, value: impl Display) {
        writeln!(self.0, "{key} {value}").expect("a string has no limit");
    }

    fn unless<T: PartialEq + Display>(&mut self, default: &T, key: &str, value: &T) {
        if value != default {
            self.line(key, value);
        }
    }

    fn quoted(&mut self, key: &str, value: Option<impl AsRef<[u8]>>) {
        if let Some(value) = value {
            self.line(key, quote(value.as_ref()));
        }
    }

    fn fields(&mut self, key: &str, fields: Option<&HeaderMap>) {
        for (name, value) in fields.into_iter().flatten() {
            self.line(key, format_args!("{name} {}", quote(value.as_bytes())));
        }
    }

    fn millis(&mut self, key: &str, duration: Option<Duration>) {
        if let Some(duration) = duration {
            self.line(key, duration.as_millis());
        }
    }
}

fn quote(bytes: &[u8]) -> String {
    let quoted = bytes.iter().map(|byte| match byte {
        b'"' | b'\\' => format!("\\x{byte:02x}"),
        b' '..=b'~' => char::from(*byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    });
    format!("\"{}\"", quoted.collect::<String>())
}
