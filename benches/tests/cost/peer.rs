//! Peers of the measured side, each on a thread of its own that ends with the test.

use std::thread;

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use narun_core::fields::Edit;
use narun_core::frame::{RequestHead, ResponseHead};
use narun_core::{ExchangeId, Limits};
use tokio::sync::{mpsc, oneshot};

use crate::{CONTENT, runtime};

/// An app that replies to every message with the same RESPONSE.
pub(super) struct Responder {
    _stop: oneshot::Sender<()>,
}

impl Responder {
    pub(super) fn start(url: &str, app: &str) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (url, subject) = (url.to_owned(), subject(app));
        start(async move |ready: Ready| {
            let client = connect(&url).await;
            let mut requests = subscribe(&client, subject).await;
            let _ = ready.send(());
            let response = response();
            let reply = async {
                while let Some(request) = requests.next().await {
                    let reply = request.reply.expect("a reply subject");
                    client.publish(reply, response.clone()).await.expect("a published response");
                }
            };
            tokio::select! {
                _ = stopped => {}
                () = reply => {}
            }
        });
        Self { _stop: stop }
    }
}

/// A gateway that makes one request after the other.
pub(super) struct Requester {
    orders: mpsc::UnboundedSender<(usize, oneshot::Sender<()>)>,
}

impl Requester {
    pub(super) fn start(url: &str, app: &str) -> Self {
        let (orders, mut ordered) = mpsc::unbounded_channel::<(usize, oneshot::Sender<()>)>();
        let (url, subject) = (url.to_owned(), subject(app));
        start(async move |ready: Ready| {
            let client = connect(&url).await;
            let _ = ready.send(());
            let request = request();
            while let Some((count, done)) = ordered.recv().await {
                for _ in 0..count {
                    let response = client.request(subject.clone(), request.clone()).await;
                    assert!(response.expect("a response").payload.ends_with(CONTENT));
                }
                let _ = done.send(());
            }
        });
        Self { orders }
    }

    /// Makes this many requests.
    pub(super) async fn make(&self, count: usize) {
        let (done, is_done) = oneshot::channel();
        self.orders.send((count, done)).expect("a requester");
        is_done.await.expect("responses to all requests");
    }
}

/// Counts every message on the server.
pub(super) struct Wiretap {
    orders: mpsc::UnboundedSender<oneshot::Sender<usize>>,
}

impl Wiretap {
    pub(super) fn start(url: &str) -> Self {
        let (orders, mut ordered) = mpsc::unbounded_channel::<oneshot::Sender<usize>>();
        let url = url.to_owned();
        start(async move |ready: Ready| {
            let client = connect(&url).await;
            let mut messages = subscribe(&client, ">".to_owned()).await;
            let _ = ready.send(());
            let mut count = 0;
            while let Some(counted) = ordered.recv().await {
                // The marker comes after all messages that the server has sent so far.
                let marker = client.new_inbox();
                client.publish(marker.clone(), Bytes::new()).await.expect("a published message");
                while messages.next().await.expect("an open subscription").subject.as_str() != marker {
                    count += 1;
                }
                let _ = counted.send(count);
            }
        });
        Self { orders }
    }

    /// The number of messages so far.
    pub(super) async fn count(&self) -> usize {
        let (sender, counted) = oneshot::channel();
        self.orders.send(sender).expect("a wiretap");
        counted.await.expect("a count")
    }
}

type Ready = std::sync::mpsc::Sender<()>;

/// Starts a peer, and waits until it is ready.
fn start<F: Future<Output = ()>>(peer: impl FnOnce(Ready) -> F + Send + 'static) {
    let (ready, is_ready) = std::sync::mpsc::channel();
    thread::spawn(move || runtime().block_on(peer(ready)));
    is_ready.recv().expect("a peer that is ready");
}

async fn connect(url: &str) -> Client {
    async_nats::connect(url).await.expect("a connection")
}

/// Subscribes, and waits until the server has the subscription.
async fn subscribe(client: &Client, subject: String) -> Subscriber {
    let messages = client.subscribe(subject).await.expect("a subscription");
    let inbox = client.new_inbox();
    let mut echo = client.subscribe(inbox.clone()).await.expect("a subscription");
    client.publish(inbox, Bytes::new()).await.expect("a published message");
    echo.next().await.expect("an open subscription");
    messages
}

fn subject(app: &str) -> String {
    format!("call.TASK.{app}")
}

fn request() -> Bytes {
    let request = Request::post("/some/path").header("host", "narun.example").header("accept", "*/*");
    let (parts, ()) = request.body(()).expect("a request").into_parts();
    let head = RequestHead::new(ExchangeId::from_bytes([7; 16]));
    head.encode(&parts, Edit::default(), CONTENT, None, &Limits::default()).expect("a REQUEST")
}

fn response() -> Bytes {
    let (parts, ()) = Response::new(()).into_parts();
    let head = ResponseHead::new();
    head.encode(&parts, Edit::default(), CONTENT, None, &Limits::default()).expect("a RESPONSE")
}
