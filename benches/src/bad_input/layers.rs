//! A gateway as a layer: behind an authentication, and in front of an app.

use std::net::SocketAddr;

use tokio::task::block_in_place;
use tokio::time::Instant;

use super::raw::{LIMIT, exchange, get, post};
use super::report::Report;
use super::site::{NAMESPACE, Site};
use crate::Error;
use crate::process::Process;
use crate::role::{Job, Role, ShowSetup};

pub(super) async fn send(site: &Site, report: &mut Report) -> Result<(), Error> {
    for (strip, how) in [(true, "stripped outside"), (false, "kept by the gateway")] {
        let show = ShowSetup {
            nats: site.nats().url().to_owned(),
            namespace: NAMESPACE.to_owned(),
            app: "show".to_owned(),
        };
        let job = Job { workers: None, role: Role::LayeredGateway { show, strip } };
        let process = block_in_place(|| Process::start("layered gateway", &job))?;
        let to = process.address().parse()?;
        served(to).await?;
        authenticated(to, how, report).await;
        if strip {
            inner(to, report).await;
        }
    }
    Ok(())
}

async fn served(to: SocketAddr) -> Result<(), Error> {
    let deadline = Instant::now() + LIMIT;
    while !get(to, "/show/x").await.is_ok_and(|response| response.status == 200) {
        if Instant::now() > deadline {
            return Err("an app with a gateway as a layer does not serve".into());
        }
    }
    Ok(())
}

/// The field that the authentication sets reaches the handler, whatever the client sends.
async fn authenticated(to: SocketAddr, how: &str, report: &mut Report) {
    for (name, fields) in [
        ("a client without it", ""),
        ("a client's own", "X-Auth-User: mallory\r\n"),
        ("named by Connection", "Connection: x-auth-user\r\n"),
        (
            "named by Connection, and a client's own",
            "Connection: close, X-Auth-User\r\nX-Auth-User: mallory\r\n",
        ),
        ("two of a client", "X-Auth-User: mallory\r\nX-Auth-User: eve\r\n"),
    ] {
        let received = post(to, "/show/x", fields, "").await;
        report.holds(format!("layers: a user field, {how}, {name}"), "alice alone", &received, |response| {
            response.seen("x-auth-user") == ["alice"]
        });
    }
    let received = post(to, "/show/x", "Connection: x-plain\r\nX-Plain: a\r\n", "").await;
    report.holds(format!("layers: another field, {how}"), "not seen", &received, |response| {
        response.status == 200 && response.seen("x-plain").is_empty()
    });
}

/// What no route matches is for the app, whose policy counts.
async fn inner(to: SocketAddr, report: &mut Report) {
    for (name, host) in [("a Host", "Host: a\r\n"), ("an invalid Host", "Host: a b\r\n"), ("no Host", "")] {
        let received = exchange(to, format!("GET /inner HTTP/1.1\r\n{host}\r\n")).await;
        report.holds(
            format!("layers: {name}, outside of all routes"),
            "the app's response",
            &received,
            |response| response.status == 200 && response.text() == "inner /inner\n",
        );
        let received = exchange(to, format!("GET /show/x HTTP/1.1\r\n{host}\r\n")).await;
        let status = if name == "a Host" { 200 } else { 400 };
        report.status(format!("layers: {name}, on a route"), status, &received);
    }
}
