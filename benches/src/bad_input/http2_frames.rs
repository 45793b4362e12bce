//! HTTP/2 as bytes: requests that no client library makes, and floods (RFC 9113).

use std::net::SocketAddr;

use super::raw::Connection;
use super::report::Report;
use super::site::Site;

/// The beginning of a connection, with empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The types of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

/// The flags of HEADERS.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The setting MAX_CONCURRENT_STREAMS.
const MAX_STREAMS: u16 = 3;

/// The streams, or frames, of a flood.
const MANY: u32 = 5_000;

/// Pseudo-fields and fields, and their names in the report. All are malformed (8.1.1, 8.2, 8.3).
const MALFORMED: [(&str, &[(&str, &str)]); 9] = [
    ("no path", &[(":method", "GET"), (":scheme", "http"), (":authority", "a.example")]),
    ("an empty path", &[(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "")]),
    (
        "a path without a slash",
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "show/x")],
    ),
    (
        "two paths",
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", "/show/x"),
            (":path", "/show/y"),
        ],
    ),
    (
        "an unknown pseudo-field",
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/show/x"), (":x", "y")],
    ),
    (
        "a pseudo-field after a field",
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), ("x", "y"), (":path", "/show/x")],
    ),
    (
        "a name in upper case",
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/show/x"), ("X-A", "b")],
    ),
    (
        "a Connection field",
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", "/show/x"),
            ("connection", "x-a"),
        ],
    ),
    (
        "a Transfer-Encoding",
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", "/show/x"),
            ("transfer-encoding", "chunked"),
        ],
    ),
];

pub(super) async fn send(site: &Site, report: &mut Report) {
    let to = site.gateway();
    let good = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/show/x")];
    let end = END_STREAM | END_HEADERS;
    let outcome = exchange(to, &frame(HEADERS, end, 1, &block(&good))).await;
    report.line("http2: a good request", "200", &outcome, outcome == "200");
    for (name, fields) in MALFORMED {
        let outcome = exchange(to, &frame(HEADERS, end, 1, &block(fields))).await;
        let refused = ["400", "reset", "closed"].contains(&&*outcome);
        report.line(format!("http2: {name}"), "400, or a reset", &outcome, refused);
    }
    let without = [(":method", "GET"), (":scheme", "http"), (":path", "/show/x")];
    let host = [&without[..], &[("host", "a b")]].concat();
    let outcome = exchange(to, &frame(HEADERS, end, 1, &block(&host))).await;
    report.line("http2: an invalid Host alone", "400", &outcome, outcome == "400");

    // Each is a request that the client takes back at once.
    let mut resets = Vec::new();
    for stream in (0..MANY).map(|number| 2 * number + 1) {
        resets.extend(frame(HEADERS, end, stream, &block(&good)));
        resets.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    let mut fields = frame(HEADERS, END_STREAM, 1, &block(&good));
    for _ in 0..MANY {
        fields.extend(frame(CONTINUATION, 0, 1, &block(&[("x-a", &"b".repeat(100))])));
    }
    for (name, flood) in [("requests that are reset at once", resets), ("a head without an end", fields)] {
        let outcome = exchange(to, &flood).await;
        report.line(format!("http2: {name}"), "closed", &outcome, outcome == "closed");
    }
    let outcome = exchange(to, &frame(HEADERS, end, 1, &block(&good))).await;
    report.line("http2: a good request afterwards", "200", &outcome, outcome == "200");
}

/// How many requests a connection may have in flight, as the server says.
pub(super) async fn max_streams(to: SocketAddr) -> Result<Option<u32>, String> {
    let mut connection = Connection::open(to).await?;
    connection.send(PREFACE).await?;
    loop {
        let (kind, _, _, payload) = next(&mut connection).await?;
        if kind == SETTINGS {
            let settings = payload.chunks_exact(6);
            let mut values = settings.map(|part| (u16::from_be_bytes([part[0], part[1]]), &part[2..]));
            let found = values.find(|(id, _)| *id == MAX_STREAMS);
            return Ok(found.and_then(|(_, value)| Some(u32::from_be_bytes(value.try_into().ok()?))));
        }
    }
}

/// Sends the head of a request and a part of its body, and never the end. Returns the status, and the code with which the
/// server ends the stream after the whole response (RFC 9113, 8.1).
pub(super) async fn early(to: SocketAddr, path: &str) -> String {
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", path)];
    let head = frame(HEADERS, END_HEADERS, 1, &block(&fields));
    let part = frame(DATA, 0, 1, &[b'x'; 10_000]);
    let received = async {
        let mut connection = Connection::open(to).await?;
        connection.send(&[PREFACE, &head, &part].concat()).await?;
        let (mut status, mut whole) = ("no response", false);
        loop {
            let (kind, flags, stream, payload) = next(&mut connection).await?;
            match kind {
                HEADERS if stream == 1 => status = self::status(&payload),
                RST_STREAM if stream == 1 && whole => {
                    return Ok(format!(
                        "{status}, then RST_STREAM({})",
                        payload.last().copied().unwrap_or(0)
                    ));
                }
                RST_STREAM if stream == 1 => return Ok(format!("{status}, reset within it")),
                GOAWAY => return Ok(format!("{status}, then closed")),
                _ => {}
            }
            whole |= stream == 1 && matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
        }
    };
    received.await.unwrap_or_else(|error: String| error)
}

/// Sends frames over a connection of their own, and waits for the response on stream 1: its status, `reset`, or `closed` if
/// that happened to the connection.
async fn exchange(to: SocketAddr, frames: &[u8]) -> String {
    let received = async {
        let mut connection = Connection::open(to).await?;
        // The server may close it before all was sent.
        let _ = connection.send(&[PREFACE, frames].concat()).await;
        loop {
            match next(&mut connection).await? {
                (HEADERS, _, 1, block) => return Ok::<_, String>(status(&block).to_owned()),
                (RST_STREAM, _, 1, _) => return Ok("reset".to_owned()),
                (GOAWAY, ..) => return Ok("closed".to_owned()),
                _ => {}
            }
        }
    };
    match received.await {
        Ok(outcome) => outcome,
        Err(error) if error.starts_with("closed") || error.contains("reset by peer") => "closed".to_owned(),
        Err(error) => error,
    }
}

/// The status at the beginning of a response's fields, of those that HPACK has a number for (RFC 7541, A), and of a few that
/// are written out in its Huffman code.
fn status(block: &[u8]) -> &'static str {
    match block {
        [0x88, ..] => "200",
        [0x8c, ..] => "400",
        [0x8d, ..] => "404",
        [0x8e, ..] => "500",
        [0x48, 0x82, 0x68, 0x01, ..] => "401",
        [0x48, 0x83, 0x68, 0x0d, 0xff, ..] => "405",
        [0x48, 0x83, 0x68, 0x2c, 0xff, ..] => "413",
        [0x48, 0x83, 0x6c, 0x0c, 0xff, ..] => "503",
        _ => "another status",
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as literals without an index (RFC 7541, 6.2.2), each of less than 127 bytes.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(text.len() as u8 & 0x7f);
            block.extend(text.as_bytes());
        }
    }
    block
}

/// The next frame: type, flags, stream and payload.
async fn next(connection: &mut Connection) -> Result<(u8, u8, u32, Vec<u8>), String> {
    let head = connection.bytes(9).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
    Ok((head[3], head[4], stream, connection.bytes(length as usize).await?))
}
