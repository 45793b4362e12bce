//! Lengths, transfer codings, upgrades and control characters (RFC 9112, RFC 9110, 7.8 and 15.3.6).

use super::raw::{Connection, Received, exchange};
use super::report::Report;
use super::site::Site;

/// Requests without their request line and `Host`, and the statuses of their responses.
const REQUESTS: [(&str, &str, u16); 17] = [
    ("gzip and chunked", "Transfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 501),
    (
        "gzip, in a field of its own",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    ("chunked, written another way", "Transfer-Encoding: CHUNKED\r\n\r\n1\r\nx\r\n0\r\n\r\n", 200),
    ("chunked is not last", "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
    ("two lengths", "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
    ("a negative length", "Content-Length: -1\r\n\r\n", 400),
    ("a length with a sign", "Content-Length: +1\r\n\r\nx", 400),
    ("a length over 64 bits", "Content-Length: 99999999999999999999999\r\n\r\n", 400),
    ("a chunk size that is no number", "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    ("a chunk size over 64 bits", "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400),
    ("a space before the colon", "X-A : b\r\n\r\n", 400),
    ("a folded line", "X-A: b\r\n c\r\n\r\n", 400),
    ("a NUL in a value", "X-A: b\0c\r\n\r\n", 400),
    ("a CR in a value", "X-A: b\rc\r\n\r\n", 400),
    ("a field without a name", ": b\r\n\r\n", 400),
    ("websocket that Connection names", "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", 501),
    ("websocket that Connection does not name", "Upgrade: websocket\r\n\r\n", 200),
];

pub(super) async fn send(site: &Site, report: &mut Report) {
    let to = site.gateway();
    for (name, rest, status) in REQUESTS {
        let received = exchange(to, format!("POST /show/x HTTP/1.1\r\nHost: a\r\n{rest}")).await;
        report.status(format!("framing: {name}"), status, &received);
    }
    for (name, request, status) in [
        (
            "websocket over HTTP/1.0",
            "GET /show/x HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            200,
        ),
        (
            "chunked over HTTP/1.0",
            "POST /show/x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("CONNECT", "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", 501),
        ("HTTP/3.0", "GET /show/x HTTP/3.0\r\nHost: a\r\n\r\n", 400),
        ("no request at all", "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400),
    ] {
        report.status(format!("framing: {name}"), status, &exchange(to, request).await);
    }
    report.holds(
        "framing: a length beside chunked",
        "400, or the chunks alone",
        &exchange(
            to,
            "POST /show/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\n\r\n",
        )
        .await,
        |response| {
            response.status == 400
                || (response.described("body").as_deref() == Some("5")
                    && response.seen("content-length").is_empty())
        },
    );
    report.holds(
        "framing: a 205 with content",
        "205 without content",
        &reset_content(site).await,
        |response| response.status == 205 && response.body.is_empty(),
    );
    report.holds(
        "framing: 300 fields",
        "431",
        &exchange(to, format!("GET /show/x HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: b\r\n".repeat(300))).await,
        |response| response.status == 431,
    );
    for path in ["/show/ä", "/show/\u{7f}", "/show/a b", "/show/\"x\"", "/show/<x>"] {
        let received = exchange(to, format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        report.holds(format!("framing: the path {path:?}"), "400, or unchanged", &received, |response| {
            response.status == 400 || response.described("target").as_deref() == Some(path)
        });
    }
    interim(site, report).await;
    let hints = first_status(site, "GET /show/103 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    report.line("framing: a 103 as the handler's response", 502, format!("{hints:?}"), hints == Ok(502));
    let gone = half_close(site).await;
    report.line(
        "framing: a client that closes its side",
        "closed at once",
        format!("{gone:?}"),
        gone == Ok(0),
    );
    let responses = two(site).await;
    report.line("framing: a second request in a body", "one response", responses, responses == 1);
}

/// A response that must have no content is complete with its head.
async fn reset_content(site: &Site) -> Received {
    let mut connection = Connection::open(site.gateway()).await?;
    connection.send(b"GET /show/205 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await?;
    connection.response().await
}

/// `100 (Continue)` comes once if the handler wants the body, and not at all if the request is refused.
async fn interim(site: &Site, report: &mut Report) {
    let head = |path| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    };
    let statuses = async {
        let mut connection = Connection::open(site.gateway()).await?;
        connection.send(head("/show/x").as_bytes()).await?;
        let first = connection.interim().await?;
        connection.send(b"x").await?;
        Ok::<_, String>((first, connection.interim().await?))
    };
    let statuses = statuses.await;
    let good = statuses == Ok((100, 200));
    report.line("framing: Expect, to a handler that reads", "100, then 200", format!("{statuses:?}"), good);
    for (path, status) in [("/nothing", 404), ("/nobody/x", 503), ("/small/401", 401)] {
        let first = first_status(site, &head(path)).await;
        let good = first == Ok(status);
        report.line(format!("framing: Expect, to {path}"), status, format!("{first:?}"), good);
    }
}

/// The status of what comes first, which may be an interim response.
async fn first_status(site: &Site, request: &str) -> Result<u16, String> {
    let mut connection = Connection::open(site.gateway()).await?;
    connection.send(request.as_bytes()).await?;
    connection.interim().await
}

/// How many bytes a client gets whose handler takes long, if it closes its sending side. hyper takes it for gone, as nginx
/// does.
async fn half_close(site: &Site) -> Result<usize, String> {
    let mut connection = Connection::open(site.gateway()).await?;
    connection.send(b"GET /show/late HTTP/1.1\r\nHost: a\r\n\r\n").await?;
    connection.half_close().await?;
    Ok(connection.end().await?.len())
}

/// How many responses a body gets that looks like a request.
async fn two(site: &Site) -> u32 {
    let Ok(mut connection) = Connection::open(site.gateway()).await else { return 0 };
    let body = "GET /show/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let request = format!(
        "POST /show/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut responses = 0;
    if connection.send(request.as_bytes()).await.is_ok() {
        while connection.response().await.is_ok() {
            responses += 1;
        }
    }
    responses
}
