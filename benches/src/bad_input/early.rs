//! Responses to clients that send all of their request before they read, as most clients do.

use super::http2_frames;
use super::raw::{Connection, Received};
use super::report::Report;
use super::site::Site;

/// More bytes than the buffers of the system take.
const LENGTH: usize = 8 * 1024 * 1024;

/// How often each request is sent. A connection that is reset loses its response only now and then.
const TIMES: usize = 5;

pub(super) async fn send(site: &Site, report: &mut Report) {
    for (name, path, fields, status) in [
        ("404", "/nothing", "", 404),
        ("405", "/get/x", "", 405),
        ("413", "/small/x", "", 413),
        ("413 of a durable request", "/small-jobs/x", "", 413),
        ("501", "/show/x", "Connection: upgrade\r\nUpgrade: websocket\r\n", 501),
        ("503", "/nobody/x", "", 503),
        ("401 of the app", "/show/401", "", 401),
    ] {
        for chunked in [false, true] {
            let mut received = Ok(Default::default());
            for _ in 0..TIMES {
                received = upload(site, path, fields, chunked).await;
                if !received.as_ref().is_ok_and(|response| response.status == status) {
                    break;
                }
            }
            let how = if chunked { "in chunks" } else { "with a length" };
            report.status(format!("early: {name} to 8 MiB {how}, {TIMES} times"), status, &received);
        }
    }
    // Without the fields of HTTP/1.
    for (name, path, status) in [
        ("404", "/nothing", "404"),
        ("405", "/get/x", "405"),
        ("413 of a long body", "/small/x", "413"),
        ("503", "/nobody/x", "503"),
        ("401 of the app", "/show/401", "401"),
    ] {
        let expected = format!("{status}, then RST_STREAM(0)");
        let got = http2_frames::early(site.gateway(), path).await;
        report.line(format!("early: {name} over HTTP/2"), &expected, &got, got == expected);
    }
}

/// Sends a long body, all of it before the response is read.
async fn upload(site: &Site, path: &str, fields: &str, chunked: bool) -> Received {
    let mut connection = Connection::open(site.gateway()).await?;
    let framing = match chunked {
        true => format!("Transfer-Encoding: chunked\r\n\r\n{LENGTH:x}\r\n"),
        false => format!("Content-Length: {LENGTH}\r\n\r\n"),
    };
    let head = format!("POST {path} HTTP/1.1\r\nHost: a.example\r\n{fields}{framing}");
    connection.send(head.as_bytes()).await?;
    for _ in 0..LENGTH / 65_536 {
        connection.send(&[b'x'; 65_536]).await?;
    }
    if chunked {
        connection.send(b"\r\n0\r\n\r\n").await?;
    }
    connection.response().await
}
