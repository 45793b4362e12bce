//! Messages that a stranger publishes to the stream of durable requests, and to the stream of dead letters.

use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{Client, HeaderMap, Message, Subscriber};
use futures::{FutureExt, StreamExt};
use narun_consumer::DeadLetters;
use tokio::time::{self, Instant};

use super::frames::bytes::{END, RESPONSE, fields, frame, kind, name, number, request};
use super::raw::{LIMIT, get};
use super::report::Report;
use super::site::{NAMESPACE, Site};
use crate::Error;

/// The pause between two polls.
const PAUSE: Duration = Duration::from_millis(20);

/// A stranger that may publish to the streams.
struct Stranger<'a> {
    client: &'a Client,
    context: Context,
    letters: DeadLetters,
    site: &'a Site,
}

pub(super) async fn send(site: &Site, report: &mut Report) -> Result<(), Error> {
    let client = async_nats::connect(site.nats().url()).await?;
    let stranger = Stranger {
        client: &client,
        context: jetstream::new(client.clone()),
        letters: DeadLetters::new(client.clone(), NAMESPACE)?,
        site,
    };
    unreadable(&stranger, report).await?;
    too_large(&stranger, report).await?;
    inboxes(&stranger, report).await?;
    expiries(&stranger, report).await?;
    dead_letter(&stranger, report).await?;
    outcome(&stranger, report).await
}

impl Stranger<'_> {
    /// Publishes a message to the app's subject, and waits until it has left the stream.
    async fn publish(&self, headers: HeaderMap, payload: Vec<u8>) -> Result<(), Error> {
        let subject = format!("task.{NAMESPACE}.show");
        self.context.publish_with_headers(subject, headers, payload.into()).await?.await?;
        let deadline = Instant::now() + LIMIT;
        while self.context.get_stream(NAMESPACE).await?.cached_info().state.messages > 0 {
            if Instant::now() > deadline {
                return Err(format!("the message is still in the stream after {LIMIT:?}").into());
            }
            time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// The reasons of all dead letters.
    async fn reasons(&self) -> Result<Vec<String>, Error> {
        let letters = self.letters.list(None, 1, usize::MAX).await?;
        Ok(letters.iter().map(|letter| letter.reason().to_owned()).collect())
    }

    /// How often the handler has run.
    async fn runs(&self) -> u64 {
        let response = get(self.site.gateway(), "/show/x").await;
        let run = response.ok().and_then(|response| response.described("run")?.parse().ok());
        run.unwrap_or_default()
    }
}

/// Messages that are no requests of this namespace. They are not handled, and none of what they name is touched.
async fn unreadable(stranger: &Stranger<'_>, report: &mut Report) -> Result<(), Error> {
    let many: Vec<_> = (0..2_000).map(|_| ("x-a", &b"b"[..])).collect();
    let split = [("x-a", &b"b\r\nx-evil: c"[..])];
    let nested = [&[0x82, 1, 0xa1, 0x18, 40][..], &vec![0x81; 60_000]].concat();
    let cases = [
        ("nothing", vec![], "not a request"),
        ("bytes that are no CBOR", b"GET / HTTP/1.1".to_vec(), "not a request"),
        ("half a frame", request("/x", &[END], b"")[..20].to_vec(), "not a request"),
        ("a RESPONSE", frame(RESPONSE, &[END, &number(8, 200)], b""), "not a request"),
        ("a body that does not end", request("/x", &[], b"x"), "not a request"),
        ("2,000 fields", request("/x", &[END, &fields(&many)], b""), "not a request"),
        ("a field value with a line break", request("/x", &[END, &fields(&split)], b""), "not a request"),
        (
            "a count of 4 billion fields",
            request("/x", &[END, &[2, 0x9a, 255, 255, 255, 255]], b""),
            "not a request",
        ),
        ("60,000 levels of nesting", nested, "not a request"),
        ("the body in a foreign bucket", request("/x", &[END, &object("OTHER-bodies", 1)], b""), "bucket"),
        (
            "the outcome in a foreign bucket",
            request("/x", &[END, &outcome_in("OTHER-outcomes")], b""),
            "bucket",
        ),
    ];
    let before = stranger.runs().await;
    let count = cases.len() as u64;
    for (what, payload, reason) in cases {
        let known = stranger.reasons().await?.len();
        stranger.publish(HeaderMap::new(), payload).await?;
        let reasons = stranger.reasons().await?;
        let got = reasons.get(known..).unwrap_or_default();
        let good = matches!(got, [got] if got.contains(reason));
        report.line(
            format!("tasks: {what}"),
            format_args!("a dead letter, {reason:?}"),
            got.join(", "),
            good,
        );
    }
    let runs = stranger.runs().await - before - 1;
    report.line(format!("tasks: handlers of these {count}"), "none runs", runs, runs == 0);
    for name in ["KV_OTHER-outcomes", "OBJ_OTHER-bodies"] {
        let found = stranger.context.get_stream(name).await.is_ok();
        report.line(format!("tasks: the bucket of {name}"), "not made", found, !found);
    }
    Ok(())
}

/// A body that is longer than the consumer's limit, as the message says.
async fn too_large(stranger: &Stranger<'_>, report: &mut Report) -> Result<(), Error> {
    let bucket = format!("{NAMESPACE}-bodies");
    let (mut headers, mut inbox) = (HeaderMap::new(), inbox(stranger).await?);
    headers.insert("Narun-Inbox", &*inbox.0);
    stranger.publish(headers, request("/x", &[END, &object(&bucket, u64::MAX)], b"")).await?;
    let got = next(&mut inbox.1).await;
    let good = is_response(got.as_ref(), 413);
    report.line("tasks: a body of 2^64 bytes", "RESPONSE with 413", text(got.as_ref()), good);
    Ok(())
}

/// Subjects for the response that are no inboxes. The request is done, and nothing is published there.
async fn inboxes(stranger: &Stranger<'_>, report: &mut Report) -> Result<(), Error> {
    for subject in
        ["foreign.reply", "$JS.API.STREAM.PURGE.BAD-dead", "call.BAD.raw", "_INBOX.*", "_INBOX.a b"]
    {
        let mut all = stranger.client.subscribe(">").await?;
        stranger.client.flush().await?;
        let before = stranger.runs().await;
        let mut headers = HeaderMap::new();
        headers.insert("Narun-Inbox", subject);
        stranger.publish(headers, request("/x", &[END], b"")).await?;
        let runs = stranger.runs().await - before;
        let mut there = 0;
        while let Some(Some(message)) = all.next().now_or_never() {
            // The request itself has the subject in its headers only.
            there += u32::from(message.subject.as_str() == subject);
        }
        report.line(
            format!("tasks: a response to {subject:?}"),
            "run once, nothing there",
            format_args!("run {} times, {there} there", runs - 1),
            runs == 2 && there == 0,
        );
    }
    Ok(())
}

/// Expiries that are no numbers are none.
async fn expiries(stranger: &Stranger<'_>, report: &mut Report) -> Result<(), Error> {
    for (expiry, expected) in
        [("soon", 200), ("-1", 200), ("18446744073709551616", 200), ("18446744073709551615", 200), ("0", 504)]
    {
        let (mut headers, mut inbox) = (HeaderMap::new(), inbox(stranger).await?);
        headers.insert("Narun-Inbox", &*inbox.0);
        headers.insert("Narun-Expiry", expiry);
        stranger.publish(headers, request("/x", &[END], b"")).await?;
        let got = next(&mut inbox.1).await;
        let good = is_response(got.as_ref(), expected);
        let expected = format!("RESPONSE with {expected}");
        report.line(format!("tasks: an expiry of {expiry:?}"), expected, text(got.as_ref()), good);
    }
    Ok(())
}

/// A dead letter that is none can be listed and deleted.
async fn dead_letter(stranger: &Stranger<'_>, report: &mut Report) -> Result<(), Error> {
    let before = stranger.letters.list(None, 1, usize::MAX).await?;
    let subject = format!("dead.{NAMESPACE}.a.b");
    let mut headers = HeaderMap::new();
    headers.insert("Narun-Deliveries", "many");
    stranger.context.publish_with_headers(subject, headers, "no request".into()).await?.await?;
    let after = stranger.letters.list(None, 1, usize::MAX).await?;
    let found = after.get(before.len()).filter(|letter| letter.request().is_none());
    let good = match found {
        Some(letter) => stranger.letters.delete(letter.sequence()).await.is_ok(),
        None => false,
    };
    report.line("tasks: a dead letter that is no request", "listed and deleted", found.is_some(), good);
    Ok(())
}

/// An outcome record that is none is no response.
async fn outcome(stranger: &Stranger<'_>, report: &mut Report) -> Result<(), Error> {
    let bucket = stranger.context.get_key_value(format!("{NAMESPACE}-outcomes")).await?;
    for (what, value) in [
        ("no record", &b"no record"[..]),
        ("half a record", &[1, 2, 0, 0]),
        ("a record of version 9", &[9; 67]),
    ] {
        let id = "b".repeat(26);
        bucket.put(&id, value.into()).await?;
        let response = get(stranger.site.gateway(), &format!("/.narun/requests/{id}")).await;
        report.holds(format!("tasks: an outcome that is {what}"), "404 or 5xx", &response, |response| {
            response.status == 404 || response.status >= 500
        });
        bucket.purge(&id).await?;
    }
    Ok(())
}

/// A reference to an object that is not there.
fn object(bucket: &str, size: u64) -> Vec<u8> {
    let size = size.to_be_bytes();
    [&[18, 0x84][..], &short(bucket), &short("name"), &[0x1b], &size, &[0x58, 32], &[0; 32]].concat()
}

fn outcome_in(bucket: &str) -> Vec<u8> {
    [&[19, 0x82][..], &short(bucket), &[0x58, 32], &[0; 32]].concat()
}

/// A text of less than 24 bytes.
fn short(text: &str) -> Vec<u8> {
    [&[0x60 | text.len() as u8][..], text.as_bytes()].concat()
}

async fn inbox(stranger: &Stranger<'_>) -> Result<(String, Subscriber), Error> {
    let subject = stranger.client.new_inbox();
    let messages = stranger.client.subscribe(subject.clone()).await?;
    stranger.client.flush().await?;
    Ok((subject, messages))
}

async fn next(inbox: &mut Subscriber) -> Option<Message> {
    time::timeout(LIMIT, inbox.next()).await.ok()?
}

/// Whether it is a RESPONSE with this status.
fn is_response(message: Option<&Message>, status: u16) -> bool {
    let key = match u8::try_from(status) {
        Ok(status) => vec![8, 0x18, status],
        Err(_) => [&[8, 0x19][..], &status.to_be_bytes()].concat(),
    };
    message.is_some_and(|message| {
        kind(&message.payload) == Some(RESPONSE) && message.payload.windows(key.len()).any(|part| part == key)
    })
}

fn text(message: Option<&Message>) -> String {
    message.map_or_else(|| "nothing".to_owned(), |message| name(&message.payload))
}
