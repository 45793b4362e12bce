//! Bodies of durable requests that do not fit a message, from clients that lie, pause or leave.

use std::time::Duration;

use async_nats::jetstream;
use futures::future::join_all;
use tokio::time::{self, Instant};

use super::keys;
use super::raw::{Connection, LIMIT, Received, exchange};
use super::report::Report;
use super::site::{NAMESPACE, Site};
use crate::Error;

/// The caller of all requests.
const CALLER: &str = "Bearer one";

/// Longer than a message.
const LENGTH: usize = 3 * 1024 * 1024;

/// How many are sent at a time.
const MANY: usize = 16;

/// The pause between two polls.
const PAUSE: Duration = Duration::from_millis(20);

/// The bucket of bodies, as a stream.
struct Bucket(jetstream::Context);

pub(super) async fn send(site: &Site, report: &mut Report) -> Result<(), Error> {
    let bucket = Bucket(jetstream::new(async_nats::connect(site.nats().url()).await?));
    let responses = join_all((0..MANY).map(|number| whole(site, number % 2 == 0))).await;
    let length = LENGTH.to_string();
    for accepted in responses {
        report.status(format!("uploads: 3 MiB, {MANY} at a time"), 202, &accepted);
        let outcome = outcome(site, &accepted).await;
        report.holds("uploads: its outcome", "3 MiB arrived", &outcome, |response| {
            response.described("body").as_ref() == Some(&length)
        });
    }
    bucket.is_emptied(report, "their bodies").await;

    let huge = "POST /jobs/x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000000000\r\n\r\n";
    report.status("uploads: a length of 1 TB", 413, &exchange(site.gateway(), huge).await);
    report.status("uploads: one byte over the limit of the route, in chunks", 413, &over(site).await);
    bucket.is_emptied(report, "its body").await;

    // Half of it is stored by then.
    let left = async {
        let mut connection = begin(site, LENGTH / 2).await?;
        let stored = bucket.until(|messages| messages > 0).await;
        connection.send(b"x").await?;
        Ok::<_, String>(stored)
    };
    let left = left.await;
    let text = format!("{left:?}");
    report.line("uploads: half of a body", "half is stored", text, left == Ok(true));
    bucket.is_emptied(report, "the body of a client that leaves").await;

    let paused = async { begin(site, LENGTH / 2).await?.response().await };
    report.status("uploads: a client that pauses within a long body", 408, &paused.await);
    bucket.is_emptied(report, "its body").await;
    Ok(())
}

impl Bucket {
    /// Waits until the number of messages in the bucket is as wanted. Returns false if it is not in time.
    async fn until(&self, wanted: impl Fn(u64) -> bool) -> bool {
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            let stream = self.0.get_stream(format!("OBJ_{NAMESPACE}-bodies")).await;
            if stream.is_ok_and(|stream| wanted(stream.cached_info().state.messages)) {
                return true;
            }
            time::sleep(PAUSE).await;
        }
        false
    }

    async fn is_emptied(&self, report: &mut Report, what: &str) {
        let empty = self.until(|messages| messages == 0).await;
        let found = if empty { "deleted" } else { "still there" };
        report.line(format!("uploads: {what}"), "deleted", found, empty);
    }
}

/// Waits for the outcome of a request.
async fn outcome(site: &Site, accepted: &Received) -> Received {
    match keys::location(accepted) {
        Some(path) => keys::done(site, &path, CALLER).await,
        None => Err("no Location".to_owned()),
    }
}

fn head(path: &str, framing: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a.example\r\nAuthorization: {CALLER}\r\n{framing}\r\n\r\n")
}

/// Sends a request whose response may come later.
async fn whole(site: &Site, chunked: bool) -> Received {
    let body = vec![b'x'; LENGTH];
    let (framing, begin, end) = match chunked {
        true => ("Transfer-Encoding: chunked".to_owned(), format!("{LENGTH:x}\r\n"), "\r\n0\r\n\r\n"),
        false => (format!("Content-Length: {LENGTH}"), String::new(), ""),
    };
    let fields = format!("Prefer: respond-async\r\n{framing}");
    let mut connection = Connection::open(site.gateway()).await?;
    connection.send((head("/jobs/x", &fields) + &begin).as_bytes()).await?;
    connection.send(&body).await?;
    connection.send(end.as_bytes()).await?;
    connection.response().await
}

/// Sends a body in chunks, that is too long by its last byte.
async fn over(site: &Site) -> Received {
    let mut connection = Connection::open(site.gateway()).await?;
    let head = head("/long-jobs/x", "Transfer-Encoding: chunked") + &format!("{LENGTH:x}\r\n");
    connection.send(head.as_bytes()).await?;
    connection.send(&vec![b'x'; LENGTH]).await?;
    connection.send(b"\r\n1\r\nx\r\n0\r\n\r\n").await?;
    connection.response().await
}

/// Sends the beginning of a body.
async fn begin(site: &Site, bytes: usize) -> Result<Connection, String> {
    let mut connection = Connection::open(site.gateway()).await?;
    connection.send(head("/jobs/x", &format!("Content-Length: {LENGTH}")).as_bytes()).await?;
    connection.send(&vec![b'x'; bytes]).await?;
    Ok(connection)
}
