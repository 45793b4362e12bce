//! A consumer played by the test: what a gateway sends comes out, and what the test says goes in.

use async_nats::{Client, Message, Subject, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::Response;
use http_body_util::BodyExt;
use narun_core::fields::Edit;
use narun_core::frame::{
    Credit, Frame, Refusal, Refused, RequestFrame, Reset, ResetCode, ResponseHead, VERSION, Working,
};
use narun_core::{App, Body, Limits, Namespace};

use crate::harness::{settle, soon};

pub(crate) struct Consumer {
    client: Client,
    app: String,
    requests: Subscriber,
    /// What comes to the one token that it uses in all exchanges.
    inbox: Subscriber,
    token: Subject,
}

impl Consumer {
    pub(crate) async fn start(client: Client, app: &str) -> Self {
        let token = Subject::from(client.new_inbox());
        Self::subscribe(client, app, token).await
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn app(&self) -> &str {
        &self.app
    }

    /// The next request.
    pub(crate) async fn request(&mut self) -> Exchange {
        let message = soon("a request", self.requests.next()).await.expect("an open subscription");
        self.exchange(message)
    }

    /// The next request, if there is one already.
    pub(crate) fn waiting_request(&mut self) -> Option<Exchange> {
        let message = self.requests.next().now_or_never()?.expect("an open subscription");
        Some(self.exchange(message))
    }

    /// The next frame that comes to its token, and the reply subject that it names.
    pub(crate) async fn frame(&mut self) -> (Frame, Option<Subject>) {
        let message = soon("a frame", self.inbox.next()).await.expect("an open subscription");
        (decode(&message.payload), message.reply)
    }

    /// The next frame that comes to its token, if there is one already.
    pub(crate) fn waiting_frame(&mut self) -> Option<Frame> {
        let message = self.inbox.next().now_or_never()?.expect("an open subscription");
        Some(decode(&message.payload))
    }

    /// A token of its own, for what is not to come to the usual one.
    pub(crate) async fn open_inbox(&self) -> Inbox {
        let subject = Subject::from(self.client.new_inbox());
        let subscriber = self.client.subscribe(subject.clone()).await.expect("a subscription");
        settle(&self.client).await;
        Inbox { subject, subscriber }
    }

    /// Its connection is lost: all its subscriptions are gone, until it is [back](Away::back).
    pub(crate) async fn lose_connection(self) -> Away {
        let Self { client, app, token, requests, inbox } = self;
        drop((requests, inbox));
        settle(&client).await;
        Away { client, app, token }
    }

    async fn subscribe(client: Client, app: &str, token: Subject) -> Self {
        let subject = Namespace::default().call_subject(&App::new(app).expect("a name"));
        let requests = client.queue_subscribe(subject, app.to_owned()).await.expect("a subscription");
        let inbox = client.subscribe(token.clone()).await.expect("a subscription");
        settle(&client).await;
        Self { client, app: app.to_owned(), requests, inbox, token }
    }

    /// Ends as a process does: all its subscriptions are gone.
    pub(crate) async fn leave(self) {
        let Self { client, requests, inbox, .. } = self;
        drop((requests, inbox));
        settle(&client).await;
    }

    /// Waits until all that was sent to it by `sender` has arrived.
    pub(crate) async fn settle(&self, sender: &Client) {
        settle(sender).await;
        settle(&self.client).await;
    }

    fn exchange(&self, message: Message) -> Exchange {
        let request = RequestFrame::decode(&message.payload, &Limits::default()).expect("a REQUEST");
        let gateway = message.reply.expect("a reply subject");
        Exchange { request, gateway, token: self.token.clone(), client: self.client.clone() }
    }
}

/// A consumer whose connection is lost.
pub(crate) struct Away {
    client: Client,
    app: String,
    token: Subject,
}

impl Away {
    /// Connected again, with the same subscriptions.
    pub(crate) async fn back(self) -> Consumer {
        Consumer::subscribe(self.client, &self.app, self.token).await
    }
}

/// A subject that nothing else comes to.
pub(crate) struct Inbox {
    pub(crate) subject: Subject,
    subscriber: Subscriber,
}

impl Inbox {
    /// The next frame.
    pub(crate) async fn frame(&mut self) -> Frame {
        let message = soon("a frame", self.subscriber.next()).await.expect("an open subscription");
        decode(&message.payload)
    }
}

/// A request that a consumer has, and the way back.
pub(crate) struct Exchange {
    pub(crate) request: RequestFrame,
    /// The gateway's token.
    pub(crate) gateway: Subject,
    token: Subject,
    pub(crate) client: Client,
}

impl Exchange {
    /// Sends a frame, or anything else, that names no reply.
    pub(crate) async fn send(&self, payload: impl Into<Bytes>) {
        self.client.publish(self.gateway.clone(), payload.into()).await.expect("a message sent");
    }

    /// Sends a frame that names this reply.
    pub(crate) async fn send_with_reply(&self, payload: Bytes, reply: impl Into<Subject>) {
        let reply = reply.into();
        self.client.publish_with_reply(self.gateway.clone(), reply, payload).await.expect("a message sent");
    }

    /// The consumer's token.
    pub(crate) fn token(&self) -> Subject {
        self.token.clone()
    }

    pub(crate) async fn respond(&self, response: Response<Body>) {
        self.send(encode_response(response).await).await;
    }

    /// Answers 200 with this content.
    pub(crate) async fn ok(&self, content: &'static str) {
        self.respond(Response::new(Body::from(content))).await;
    }

    pub(crate) async fn refuse(&self, reason: Refusal) {
        let refused = Refused { reason, retry_after: None, versions: vec![] };
        self.send(refused.encode()).await;
    }

    pub(crate) async fn reset(&self, code: ResetCode, ran: bool) {
        self.send(Reset { code, text: String::new(), ran }.encode()).await;
    }

    /// Says that it is at work, and where it can be reached.
    pub(crate) async fn working(&self) {
        let working = Working { version: VERSION, instance: None };
        self.send_with_reply(working.encode(), self.token.clone()).await;
    }

    /// Answers a PROBE.
    pub(crate) async fn alive(&self) {
        self.send_with_reply(Credit::default().encode(), self.token.clone()).await;
    }
}

pub(crate) async fn encode_response(response: Response<Body>) -> Bytes {
    let (parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else { panic!("a body of narun's own breaks off") };
    let trailers = body.trailers().cloned();
    ResponseHead::new()
        .encode(&parts, Edit::default(), body.to_bytes(), trailers.as_ref(), &Limits::default())
        .expect("a RESPONSE")
}

fn decode(payload: &Bytes) -> Frame {
    Frame::decode(payload, &Limits::default()).expect("a frame")
}
