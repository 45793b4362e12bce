//! Bodies that stop, and handlers that are late: 408 blames the client, 504 the handler (RFC 9110, 15.5.9, 15.6.5).

use futures::future::join_all;

use super::http2;
use super::raw::{Connection, Received, get};
use super::report::Report;
use super::site::Site;

/// Names, and what is sent before the pause, after the path.
const PAUSES: [(&str, &str); 4] = [
    ("nothing of a short body", "Content-Length: 100\r\n\r\n"),
    ("the beginning of a short body", "Content-Length: 100\r\n\r\nx"),
    ("the beginning of a long body", "Content-Length: 10000000\r\n\r\nx"),
    ("the beginning of a chunk", "Transfer-Encoding: chunked\r\n\r\n100\r\nx"),
];

pub(super) async fn send(site: &Site, report: &mut Report) {
    let mut waits: Vec<(String, u16, Received)> = Vec::new();
    let paused = PAUSES.iter().flat_map(|(name, rest)| {
        ["/show", "/jobs"]
            .map(|path| async move { (format!("{path}, {name}"), 408, pause(site, path, rest).await) })
    });
    let (paused, continued, http2, late) = tokio::join!(
        join_all(paused),
        pause_after_continue(site),
        http2_pause(site),
        get(site.gateway(), "/show/late"),
    );
    waits.extend(paused);
    waits.push(("/show, nothing after 100".to_owned(), 408, continued));
    waits.push(("/show, the beginning of a body over HTTP/2".to_owned(), 408, http2));
    waits.push(("/show, the whole request, but the handler is late".to_owned(), 504, late));
    for (name, status, received) in waits {
        report.status(format!("pauses: {name}"), status, &received);
    }
}

async fn pause(site: &Site, path: &str, rest: &str) -> Received {
    let mut connection = Connection::open(site.gateway()).await?;
    let request = format!("POST {path}/x HTTP/1.1\r\nHost: a.example\r\n{rest}");
    connection.send(request.as_bytes()).await?;
    connection.response().await
}

async fn pause_after_continue(site: &Site) -> Received {
    let mut connection = Connection::open(site.gateway()).await?;
    let request =
        "POST /show/x HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n";
    connection.send(request.as_bytes()).await?;
    match connection.interim().await? {
        100 => connection.response().await,
        status => Err(format!("{status} instead of 100")),
    }
}

async fn http2_pause(site: &Site) -> Received {
    let to = site.gateway();
    http2::pause(to, &format!("http://{to}/show/x"), "x").await
}
