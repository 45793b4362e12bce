//! Frames to a gateway, from a consumer that is not one.

use std::time::Duration;

use async_nats::{Client, Message, Subscriber};
use futures::StreamExt;
use tokio::time;

use super::bytes::{DATA, END, REFUSED, RESET, RESPONSE, code, fields, frame, kind, name, number, text};
use crate::Error;
use crate::bad_input::raw::{RawResponse, Received, get};
use crate::bad_input::report::Report;
use crate::bad_input::site::{NAMESPACE, Site};

/// How long a frame may take.
const LIMIT: Duration = Duration::from_secs(10);

/// What a consumer may say in a text that is for the log.
const SECRET: &str = "$JS.API.STREAM.INFO.BAD failed at 10.0.0.7";

/// An app without narun, which responds to requests with any bytes.
struct Raw<'a> {
    client: &'a Client,
    site: &'a Site,
    requests: Subscriber,
}

pub(super) async fn send(client: &Client, site: &Site, report: &mut Report) -> Result<(), Error> {
    let requests = client.queue_subscribe(format!("call.{NAMESPACE}.raw"), "raw".to_owned()).await?;
    client.flush().await?;
    let mut raw = Raw { client, site, requests };
    responses(&mut raw, report).await?;
    refused(&mut raw, report).await?;
    secrets(&mut raw, report).await?;
    let nobody = get(site.gateway(), "/nobody/x").await;
    report.holds("frames: the text of a 503", "no subject", &nobody, |response| {
        response.status == 503 && !tells(response)
    });
    Ok(())
}

impl Raw<'_> {
    /// Makes a request, and sends these payloads back. Returns the response and the frames that came to the token.
    async fn respond(&mut self, payloads: &[Vec<u8>]) -> Result<(Received, Subscriber), Error> {
        let token = self.client.new_inbox();
        let frames = self.client.subscribe(token.clone()).await?;
        let to = self.site.gateway();
        let response = tokio::spawn(async move { get(to, "/raw/x").await });
        let request = time::timeout(LIMIT, self.requests.next()).await?.ok_or("the subscription ended")?;
        let reply = request.reply.ok_or("a request without a reply")?;
        for payload in payloads {
            self.client.publish_with_reply(reply.clone(), token.clone(), payload.clone().into()).await?;
        }
        Ok((response.await?, frames))
    }
}

async fn responses(raw: &mut Raw<'_>, report: &mut Report) -> Result<(), Error> {
    let status = |status| number(8, status);
    let split = fields(&[("x-a", b"b\r\nset-cookie: evil=1")]);
    let name = fields(&[("x a", b"b")]);
    for (what, payload) in [
        ("bytes that are no frame", b"no frame".to_vec()),
        ("a frame and a byte", [frame(RESPONSE, &[END, &status(200)], b""), vec![0]].concat()),
        ("a status of 99", frame(RESPONSE, &[END, &status(99)], b"")),
        ("a status of 101", frame(RESPONSE, &[END, &status(101)], b"")),
        ("a status of 1000", frame(RESPONSE, &[END, &status(1000)], b"")),
        ("a field value with a line break", frame(RESPONSE, &[&split, END, &status(200)], b"")),
        ("a field name with a space", frame(RESPONSE, &[&name, END, &status(200)], b"")),
        ("a RESPONSE of 900,000 bytes", frame(RESPONSE, &[END, &status(200)], &[b'x'; 900_000])),
    ] {
        let (received, _) = raw.respond(&[payload]).await?;
        report.status(format!("frames: to a gateway, {what}"), 502, &received);
    }

    let hop = fields(&[("connection", b"x-plain"), ("x-plain", b"a"), ("transfer-encoding", b"gzip")]);
    let (received, _) = raw.respond(&[frame(RESPONSE, &[&hop, END, &status(200)], b"text")]).await?;
    report.holds("frames: to a gateway, hop-by-hop fields", "200 without them", &received, |response| {
        response.status == 200
            && response.field("x-plain").is_none()
            && response.field("transfer-encoding").is_none()
            && response.body == b"text"
    });

    let begin = frame(RESPONSE, &[&status(200)], b"x");
    for (what, data) in [
        ("a DATA of 400,000 bytes", frame(DATA, &[&number(8, 1)], &[b'x'; 400_000])),
        ("a DATA that skips a number", frame(DATA, &[&number(8, 2)], b"x")),
        ("bytes that are no frame, in a body", b"no frame".to_vec()),
    ] {
        let (received, _) = raw.respond(&[begin.clone(), data]).await?;
        let got = received.as_ref().map_or_else(Clone::clone, |response| response.status.to_string());
        // Not only late.
        let aborted = received.is_err_and(|error| error.starts_with("closed"));
        report.line(format!("frames: to a gateway, {what}"), "the response is aborted", got, aborted);
    }
    Ok(())
}

/// A frame that is refused, and names a reply, is answered there.
async fn refused(raw: &mut Raw<'_>, report: &mut Report) -> Result<(), Error> {
    let large = frame(RESPONSE, &[END, &number(8, 200)], &[b'x'; 900_000]);
    for (what, payload) in
        [("bytes that are no frame", b"no frame".to_vec()), ("a frame over the limit", large)]
    {
        let (_, mut frames) = raw.respond(&[payload]).await?;
        let got: Option<Message> = time::timeout(LIMIT, frames.next()).await.ok().flatten();
        let good = got.as_ref().is_some_and(|message| {
            kind(&message.payload) == Some(RESET) && code(&message.payload) == Some(9)
        });
        let text = got.map_or_else(|| "nothing".to_owned(), |message| name(&message.payload));
        report.line(format!("frames: to the sender of {what}"), "RESET(9)", text, good);
    }
    Ok(())
}

/// Texts that consumers send are for the log, not for HTTP clients.
async fn secrets(raw: &mut Raw<'_>, report: &mut Report) -> Result<(), Error> {
    for (what, payload) in [
        ("a RESET", frame(RESET, &[&number(8, 9), &text(9, SECRET)], b"")),
        ("a RESET too large", frame(RESET, &[&number(8, 6), &text(9, SECRET)], b"")),
        ("a REFUSED", frame(REFUSED, &[&number(8, 4), &text(9, SECRET)], b"")),
    ] {
        let (received, _) = raw.respond(&[payload]).await?;
        report.holds(format!("frames: the text of {what}"), "not in the response", &received, |response| {
            response.status >= 500 && !tells(response)
        });
    }
    Ok(())
}

/// Whether a response has names of NATS, or a text that is for the log.
fn tells(response: &RawResponse) -> bool {
    let text = response.text();
    ["$JS", "10.0.0.7", "call.", "task.", "_INBOX", NAMESPACE].iter().any(|word| text.contains(word))
}
