//! A consumer played by the test, which reads the frames of a gateway and sends its own.

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
    /// The messages to its token, the same in all exchanges.
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

    /// The next request. Returns `None` if there is none yet.
    pub(crate) fn waiting_request(&mut self) -> Option<Exchange> {
        let message = self.requests.next().now_or_never()?.expect("an open subscription");
        Some(self.exchange(message))
    }

    /// The next frame to its token, and the reply subject of the frame.
    pub(crate) async fn frame(&mut self) -> (Frame, Option<Subject>) {
        let message = soon("a frame", self.inbox.next()).await.expect("an open subscription");
        (decode(&message.payload), message.reply)
    }

    /// The next frame to its token. Returns `None` if there is none yet.
    pub(crate) fn waiting_frame(&mut self) -> Option<Frame> {
        let message = self.inbox.next().now_or_never()?.expect("an open subscription");
        Some(decode(&message.payload))
    }

    /// Opens another token.
    pub(crate) async fn open_inbox(&self) -> Inbox {
        let subject = Subject::from(self.client.new_inbox());
        let subscriber = self.client.subscribe(subject.clone()).await.expect("a subscription");
        settle(&self.client).await;
        Inbox { subject, subscriber }
    }

    /// Loses its connection and its subscriptions until it is [back](Away::back).
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

    /// Ends like a process: drops its subscriptions.
    pub(crate) async fn leave(self) {
        let Self { client, requests, inbox, .. } = self;
        drop((requests, inbox));
        settle(&client).await;
    }

    /// Waits until all messages of `sender` to it have arrived.
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
    /// Reconnects, with the same subscriptions.
    pub(crate) async fn back(self) -> Consumer {
        Consumer::subscribe(self.client, &self.app, self.token).await
    }
}

/// A subject of its own.
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

/// A request that a consumer has received, and how to respond.
pub(crate) struct Exchange {
    pub(crate) request: RequestFrame,
    /// The gateway's token.
    pub(crate) gateway: Subject,
    token: Subject,
    pub(crate) client: Client,
}

impl Exchange {
    /// Sends a frame or any other payload, without a reply subject.
    pub(crate) async fn send(&self, payload: impl Into<Bytes>) {
        self.client.publish(self.gateway.clone(), payload.into()).await.expect("a message sent");
    }

    /// Sends a frame with this reply subject.
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

    /// Responds with 200 and this content.
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

    /// Sends WORKING with its token.
    pub(crate) async fn working(&self) {
        let working = Working { version: VERSION, instance: None };
        self.send_with_reply(working.encode(), self.token.clone()).await;
    }

    /// Responds to a PROBE.
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
