//! A gateway behind a proxy that it trusts, and whose HTTP server has small limits.

use std::net::SocketAddr;

use futures::FutureExt;
use futures::future::join_all;
use tokio::time::Instant;

use super::http2_frames;
use super::raw::{Connection, LIMIT, get, post};
use super::report::Report;
use super::site::{Example, NAMESPACE, Site};
use crate::Error;

/// The configuration.
const CONFIG: &str = r#"
request_timeout_seconds: 2
trusted_proxies: [ "127.0.0.0/8" ]
server: { head_timeout_seconds: 1, keep_alive_seconds: 1, max_connections: 3, max_streams: 7 }
routes:
  - { path: "/show/", app: show, delivery: direct }
"#;

/// The limit on connections.
const CONNECTIONS: usize = 3;

/// The limit on requests in flight over an HTTP/2 connection.
const STREAMS: u32 = 7;

/// Fields of a request, the name in the report, and the value of `x-forwarded-for` that the handler should see.
const CHAINS: [(&str, &str, &str); 5] = [
    ("X-Forwarded-For: 203.0.113.9\r\n", "an address", "203.0.113.9,127.0.0.1"),
    ("X-Forwarded-For: 203.0.113.9, 10.0.0.1\r\n", "two addresses", "203.0.113.9, 10.0.0.1,127.0.0.1"),
    (
        "X-Forwarded-For: 203.0.113.9\r\nConnection: x-forwarded-for\r\n",
        "an address, named by Connection",
        "203.0.113.9,127.0.0.1",
    ),
    ("X_Forwarded_For: 203.0.113.9\r\n", "an address in a field with underscores", "127.0.0.1"),
    ("", "no address", "127.0.0.1"),
];

pub(super) async fn send(site: &Site, report: &mut Report) -> Result<(), Error> {
    let gateway = Example::start(site.nats().url(), &format!("nats_stream: {NAMESPACE}\n{CONFIG}"))?;
    let to = gateway.address()?;
    let deadline = Instant::now() + LIMIT;
    while !get(to, "/show/x").await.is_ok_and(|response| response.status == 200) {
        if Instant::now() > deadline {
            return Err("a gateway with small limits does not serve".into());
        }
    }
    for (fields, name, expected) in CHAINS {
        let received = post(to, "/show/x", fields, "").await;
        report.holds(format!("edge: {name}, of a trusted proxy"), expected, &received, |response| {
            response.seen("x-forwarded-for").join(",") == expected
        });
    }
    for (name, sent) in [
        ("an unused connection", ""),
        ("half a head", "GET /show/x HTTP/1.1\r\nHost: a.ex"),
        ("half of the beginning of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM"),
    ] {
        report.line(format!("edge: {name}"), "closed", "", is_closed(to, sent).await);
    }
    let idle = async {
        let mut connection = Connection::open(to).await?;
        connection.send(b"GET /show/x HTTP/1.1\r\nHost: a.example\r\n\r\n").await?;
        connection.response().await?;
        connection.response().await
    };
    let idle = idle.await;
    let closed = idle.as_ref().is_err_and(|error| error.starts_with("closed"));
    report.line("edge: an idle connection", "closed", format!("{idle:?}"), closed);
    let streams = http2_frames::max_streams(to).await;
    report.line(
        "edge: requests in flight over HTTP/2",
        STREAMS,
        format!("{streams:?}"),
        streams == Ok(Some(STREAMS)),
    );
    connections(to, report).await;
    Ok(())
}

/// Whether the gateway closes a connection on which only this was sent.
async fn is_closed(to: SocketAddr, sent: &str) -> bool {
    let received = async {
        let mut connection = Connection::open(to).await?;
        connection.send(sent.as_bytes()).await?;
        connection.end().await
    };
    received.await.is_ok()
}

/// A connection beyond the limit waits until another one is closed.
async fn connections(to: SocketAddr, report: &mut Report) {
    let at = |path: &'static str| async move { (get(to, path).await, Instant::now()) };
    let mut late: Vec<_> = (0..CONNECTIONS).map(|_| at("/show/late").boxed()).collect();
    // The server accepts them in this order.
    for request in &mut late {
        let _ = request.now_or_never();
    }
    let (late, (beyond, served)) = tokio::join!(join_all(late), at("/show/x"));
    for (received, _) in &late {
        report.status("edge: a connection within the limit", 504, received);
    }
    report.status("edge: a connection beyond the limit", 200, &beyond);
    let waited = late.iter().any(|(_, ended)| *ended < served);
    let order = if waited { "afterwards" } else { "before" };
    report.line("edge: a connection beyond the limit", "served after another one", order, waited);
}
