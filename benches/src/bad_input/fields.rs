//! Fields named by `Connection`, forged addresses and ids, cookies in parts.

use super::http2;
use super::raw::{Received, exchange, get, post};
use super::report::Report;
use super::site::Site;

/// What a client that lies about its address sends.
const FORGED: &str = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Host: evil.example\r\n\
                      X-Forwarded-Proto: https\r\nForwarded: for=203.0.113.9;host=evil.example;proto=https\r\n";

pub(super) async fn send(site: &Site, report: &mut Report) {
    named_by_connection(site, report).await;
    forged(site, report).await;
    request_ids(site, report).await;
    let uri = format!("http://{}/show/x", site.gateway());
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")];
    report.holds(
        "fields: cookies in parts, over HTTP/2",
        "one Cookie field, joined by `; `",
        &http2::exchange(site.gateway(), &uri, &crumbs, "").await,
        |response| response.seen("cookie") == ["a=1; b=2; c=3"],
    );
}

async fn named_by_connection(site: &Site, report: &mut Report) {
    let fields = "X-Request-Id: mine\r\nX-Plain: x\r\n\
                  Connection: host, x-request-id, x-plain, forwarded, x-forwarded-for, x-forwarded-host, \
                  x-forwarded-proto\r\n";
    let received = post(site.gateway(), "/show/x", fields, "").await;
    for name in
        ["host", "x-request-id", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]
    {
        report.holds(
            format!("fields: Connection names {name}"),
            "the handler sees it",
            &received,
            |response| response.seen(name).len() == 1,
        );
    }
    report.holds(
        "fields: Connection names another field",
        "the handler does not see it, RFC 9110, 7.6.1",
        &received,
        |response| response.status == 200 && response.seen("x-plain").is_empty(),
    );
    for (name, line) in [
        ("connection", "Connection: keep-alive\r\n"),
        ("keep-alive", "Keep-Alive: timeout=5\r\n"),
        ("proxy-authorization", "Proxy-Authorization: Basic eDp5\r\n"),
        ("te", "TE: trailers\r\n"),
        ("upgrade", "Upgrade: h2c\r\n"),
    ] {
        report.holds(
            format!("fields: {name} is hop-by-hop"),
            "the handler does not see it",
            &post(site.gateway(), "/show/x", line, "").await,
            |response| response.status == 200 && response.seen(name).is_empty(),
        );
    }
}

/// The gateway is at the edge: it has no trusted proxies.
async fn forged(site: &Site, report: &mut Report) {
    let received = post(site.gateway(), "/show/x", FORGED, "").await;
    report.holds("fields: a forged X-Forwarded-For", "127.0.0.1 alone", &received, |response| {
        response.seen("x-forwarded-for") == ["127.0.0.1"]
    });
    report.holds("fields: a forged X-Forwarded-Host", "a.example alone", &received, |response| {
        response.seen("x-forwarded-host") == ["a.example"]
    });
    report.holds("fields: a forged X-Forwarded-Proto", "http alone", &received, |response| {
        response.seen("x-forwarded-proto") == ["http"]
    });
    report.holds("fields: a forged Forwarded", "for=127.0.0.1 and Host alone", &received, |response| {
        let seen = response.seen("forwarded");
        seen.len() == 1 && seen[0].contains("for=127.0.0.1") && !seen[0].contains("203.0.113.9")
    });
    report.holds(
        "fields: the client's address reaches the handler",
        "peer 127.0.0.1",
        &received,
        |response| response.described("peer").is_some_and(|peer| peer.starts_with("127.0.0.1:")),
    );
}

async fn request_ids(site: &Site, report: &mut Report) {
    let has_id = |received: &Received, id: Option<&str>| match received {
        Ok(response) => {
            let found = response.field("x-request-id");
            found.is_some() && (id.is_none() || found == id)
        }
        Err(_) => false,
    };
    let mut line = |name: &str, received: &Received, id: Option<&str>| {
        let good = has_id(received, id);
        report.holds(format!("fields: X-Request-Id of a {name}"), "it is there", received, |_| good);
    };
    let to = site.gateway();
    line("200", &get(to, "/show/x").await, None);
    line("200, the client's own", &post(to, "/show/x", "X-Request-Id: mine\r\n", "").await, Some("mine"));
    line("404", &get(to, "/nothing").await, None);
    line("405", &get(to, "/post/x").await, None);
    line("413", &post(to, "/small/x", "", &"x".repeat(2_000)).await, None);
    line("503", &get(to, "/nobody/x").await, None);
    let host = "GET /show/x HTTP/1.1\r\nHost: a\r\nX-Request-Id: a\tb\r\n\r\n";
    let received = exchange(to, host).await;
    let good = has_id(&received, None) && !has_id(&received, Some("a\tb"));
    report.holds("fields: an invalid X-Request-Id", "another one", &received, |_| good);
}
