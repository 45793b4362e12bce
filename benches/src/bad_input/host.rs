//! `Host`, authorities and targets (RFC 9110, 7.2; RFC 9112, 3.2; RFC 9113, 8.3.1).

use super::http2;
use super::raw::{exchange, get};
use super::report::Report;
use super::site::Site;

/// Field lines that are no valid `Host`, and their names in the report.
const INVALID: [(&str, &str); 11] = [
    ("none", ""),
    ("two", "Host: a.example\r\nHost: b.example\r\n"),
    ("two that are equal", "Host: a.example\r\nHost: a.example\r\n"),
    ("with a space", "Host: a b\r\n"),
    ("with a path", "Host: a.example/evil\r\n"),
    ("with a user", "Host: user@a.example\r\n"),
    ("with a port that is no number", "Host: a.example:abc\r\n"),
    ("a list", "Host: a.example, b.example\r\n"),
    ("an unclosed bracket", "Host: [::1\r\n"),
    ("a query", "Host: a.example?b\r\n"),
    ("with bytes beyond ASCII", "Host: ä.example\r\n"),
];

pub(super) async fn send(site: &Site, report: &mut Report) {
    let to = site.gateway();
    for (name, fields) in INVALID {
        let received = exchange(to, format!("GET /show/x HTTP/1.1\r\n{fields}\r\n")).await;
        report.status(format!("host: {name}"), 400, &received);
    }
    for host in ["a.example", "a.example:8080", "A.Example.", "[::1]:80", "192.0.2.1", "a_b.example"] {
        let received = exchange(to, format!("GET /show/x HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        report.status(format!("host: {host} is valid"), 200, &received);
    }
    let received = exchange(to, "GET /show/x HTTP/1.0\r\n\r\n").await;
    report.status("host: none in HTTP/1.0 is valid", 200, &received);

    let absolute = "GET http://a.example/show/x HTTP/1.1\r\nHost: b.example\r\n\r\n";
    report.holds(
        "host: the absolute form wins over the field",
        "Host a.example alone",
        &exchange(to, absolute).await,
        |response| response.seen("host") == ["a.example"] && !response.text().contains("b.example"),
    );
    let uri = format!("http://{to}/show/x");
    let received = http2::exchange(to, &uri, &[("host", "b.example")], "").await;
    report.holds(
        "host: :authority wins over the field",
        "Host of the authority alone, or 400",
        &received,
        |response| {
            response.status == 400
                || (response.seen("host") == [to.to_string()] && !response.text().contains("b.example"))
        },
    );

    for (name, host, routed) in [
        ("IPv6 as in the route", "[2001:db8::1]", true),
        ("the same IPv6, written out", "[2001:DB8:0:0:0:0:0:1]:80", true),
        ("another IPv6", "[2001:db8::2]", false),
    ] {
        let received = exchange(to, format!("GET /six/x HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        report.status(format!("host: {name}"), if routed { 200 } else { 404 }, &received);
    }

    // hyper drops it.
    report.holds(
        "target: a fragment",
        "400, or it reaches nobody",
        &get(to, "/show/x#fragment").await,
        |response| response.status == 400 || response.described("target").as_deref() == Some("/show/x"),
    );
    for (name, target) in [
        ("encoded slash stays encoded", "/show/a%2fb"),
        ("dots are not resolved in the query", "/show/x?a=/../b"),
    ] {
        report.holds(format!("target: {name}"), target, &get(to, target).await, |response| {
            response.described("target").as_deref() == Some(target)
        });
    }
    let long = format!("/show/{}", "a".repeat(9_000));
    report.status("target: of 9,000 bytes", 414, &get(to, &long).await);
}
