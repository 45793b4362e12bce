//! Frames to a consumer, from a gateway that is not one.

use std::time::Duration;

use async_nats::{Client, Message, Subscriber};
use futures::{FutureExt, StreamExt};
use tokio::time;

use super::bytes::{
    ACCEPT, DATA, END, PROBE, REFUSED, RESET, RESPONSE, code, fields, frame, kind, name, number, request,
};
use crate::Error;
use crate::bad_input::report::Report;
use crate::bad_input::site::NAMESPACE;

/// How long a frame may take.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn send(client: &Client, report: &mut Report) -> Result<(), Error> {
    requests(client, report).await?;
    replies(client, report).await?;
    bodies(client, report).await
}

fn subject() -> String {
    format!("call.{NAMESPACE}.show")
}

/// Waits for a frame other than CREDIT, PROBE and WORKING.
async fn next(inbox: &mut Subscriber) -> Option<Message> {
    let frame = async {
        loop {
            let message = inbox.next().await?;
            if !matches!(kind(&message.payload), Some(5 | 7 | 8)) {
                return Some(message);
            }
        }
    };
    time::timeout(LIMIT, frame).await.ok()?
}

fn text(message: Option<&Message>) -> String {
    message.map_or_else(|| "nothing".to_owned(), |message| name(&message.payload))
}

/// Payloads to the app's subject.
async fn requests(client: &Client, report: &mut Report) -> Result<(), Error> {
    let version = number(0, 9);
    let many: Vec<_> = (0..300).map(|_| ("x-a", &b"b"[..])).collect();
    let split = [("x-a", &b"b\r\nx-evil: c"[..])];
    let object = [&[18, 0x84][..], &[0x61, b'b', 0x61, b'n', 1, 0x58, 32], &[0; 32]].concat();
    let nested = [&[0x82, 1, 0xa1, 0x18, 40][..], &vec![0x81; 60_000]].concat();
    let cases: [(&str, Vec<u8>, u8); 14] = [
        ("nothing", vec![], 4),
        ("bytes that are no CBOR", b"GET / HTTP/1.1".to_vec(), 4),
        ("half a frame", request("/x", &[END], b"")[..20].to_vec(), 4),
        ("a frame and a byte", [request("/x", &[END], b""), vec![0]].concat(), 4),
        ("a RESPONSE", frame(RESPONSE, &[END, &number(8, 200)], b""), 4),
        ("version 9", [&[0x82, 1, 0xa1][..], &version].concat(), 3),
        ("a body of 200,000 bytes", request("/x", &[END], &[b'x'; 200_000]), 4),
        ("300 fields", request("/x", &[END, &fields(&many)], b""), 4),
        ("a field value with a line break", request("/x", &[END, &fields(&split)], b""), 4),
        ("a target of 9,000 bytes", request(&format!("/{}", "a".repeat(9_000)), &[END], b""), 4),
        ("a target without a slash", request("x", &[END], b""), 4),
        ("a count of 4 billion fields", request("/x", &[END, &[2, 0x9a, 255, 255, 255, 255]], b""), 4),
        ("60,000 levels of nesting", nested, 4),
        ("a direct request with an object", request("/x", &[END, &object], b""), 4),
    ];
    for (what, payload, reason) in cases {
        let inbox = client.new_inbox();
        let mut frames = client.subscribe(inbox.clone()).await?;
        client.publish_with_reply(subject(), inbox, payload.into()).await?;
        let got = next(&mut frames).await;
        let good = got.as_ref().is_some_and(|message| {
            kind(&message.payload) == Some(REFUSED) && code(&message.payload) == Some(reason)
        });
        report.line(
            format!("frames: to a consumer, {what}"),
            format_args!("REFUSED({reason})"),
            text(got.as_ref()),
            good,
        );
    }
    Ok(())
}

/// Replies that are not in an inbox.
async fn replies(client: &Client, report: &mut Report) -> Result<(), Error> {
    let mut foreign = client.subscribe("foreign.>").await?;
    let inbox = client.new_inbox();
    let mut frames = client.subscribe(inbox.clone()).await?;
    let good = request("/x", &[END], b"");
    client.publish_with_reply(subject(), "foreign.reply", good.clone().into()).await?;
    client.publish_with_reply(subject(), "foreign.reply", "no frame".into()).await?;
    client.publish_with_reply(subject(), inbox, good.into()).await?;
    let after = next(&mut frames).await;
    let got = foreign.next().now_or_never().flatten();
    let silent = after.is_some() && got.is_none();
    report.line(
        "frames: to a consumer, a reply outside of inboxes",
        "nothing there",
        text(got.as_ref()),
        silent,
    );
    Ok(())
}

/// DATA and other frames in an exchange whose body is not complete.
async fn bodies(client: &Client, report: &mut Report) -> Result<(), Error> {
    let sequence = |sequence| number(8, sequence);
    let cases: [(&str, Vec<u8>, u8); 3] = [
        ("a DATA of 400,000 bytes", frame(DATA, &[&sequence(1)], &[b'x'; 400_000]), 9),
        ("a DATA that skips a number", frame(DATA, &[&sequence(2)], b"x"), 4),
        ("bytes that are no frame, in an exchange", b"no frame".to_vec(), 9),
    ];
    for (what, payload, expected) in cases {
        let inbox = client.new_inbox();
        let mut frames = client.subscribe(inbox.clone()).await?;
        client.publish_with_reply(subject(), inbox.clone(), request("/x", &[], b"x").into()).await?;
        let accept = next(&mut frames).await;
        let token =
            accept.filter(|message| kind(&message.payload) == Some(ACCEPT)).and_then(|message| message.reply);
        let Some(token) = token else {
            report.line(format!("frames: to a consumer, {what}"), "ACCEPT", "nothing", false);
            continue;
        };
        client.publish_with_reply(token, inbox, payload.into()).await?;
        let got = next(&mut frames).await;
        let good = got.as_ref().is_some_and(|message| {
            kind(&message.payload) == Some(RESET) && code(&message.payload) == Some(expected)
        });
        report.line(
            format!("frames: to a consumer, {what}"),
            format_args!("RESET({expected})"),
            text(got.as_ref()),
            good,
        );
    }

    // A PROBE to a token of an exchange that has ended. One that arrives at the same moment gets no response.
    let inbox = client.new_inbox();
    let mut frames = client.subscribe(inbox.clone()).await?;
    client.publish_with_reply(subject(), inbox.clone(), request("/x", &[], b"x").into()).await?;
    let mut got = None;
    if let Some(token) = next(&mut frames).await.and_then(|message| message.reply) {
        client.publish(token.clone(), frame(RESET, &[&number(8, 1)], b"").into()).await?;
        for _ in 0..20 {
            let probe = frame(PROBE, &[], b"").into();
            client.publish_with_reply(token.clone(), inbox.clone(), probe).await?;
            got = time::timeout(LIMIT / 20, next(&mut frames)).await.ok().flatten();
            if got.is_some() {
                break;
            }
        }
    }
    let good = got.as_ref().is_some_and(|message| code(&message.payload) == Some(2));
    report.line("frames: to a consumer, a PROBE after the end", "RESET(2)", text(got.as_ref()), good);
    Ok(())
}
