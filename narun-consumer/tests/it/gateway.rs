//! Gateways: a real one, and one that a test drives by hand, frame by frame.

use std::time::Duration;

use async_nats::{Client, Message, Subject, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use narun_core::fields::Edit;
use narun_core::frame::{Frame, RequestHead, Reset, ResetCode, ResponseFrame};
use narun_core::{Body, ExchangeId, Limits};
use narun_gateway::{Gateway, Route};
use tower::ServiceExt;

use crate::harness::{connect, settle, soon, subject};

/// A real gateway that sends all requests to `app`.
pub(crate) async fn real(app: &str) -> Gateway {
    Gateway::builder(connect().await).route(Route::any("/", app).prefix()).build().await.expect("a gateway")
}

/// A response as an HTTP client receives it.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

pub(crate) async fn send(gateway: &Gateway, mut request: Request<Body>) -> HttpResponse {
    request.headers_mut().entry("host").or_insert(http::HeaderValue::from_static("narun.example"));
    let Ok(response) = gateway.service().oneshot(request).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body");
    let trailers = body.trailers().cloned();
    HttpResponse { status: parts.status, headers: parts.headers, body: body.to_bytes(), trailers }
}

pub(crate) fn request(method: Method, target: &str, body: &'static str) -> Request<Body> {
    Request::builder().method(method).uri(target).body(Body::from(body)).expect("a request")
}

pub(crate) fn get(target: &str) -> Request<Body> {
    request(Method::GET, target, "")
}

/// A gateway that a test drives by hand.
pub(crate) struct ManualGateway {
    client: Client,
    app: String,
}

impl ManualGateway {
    pub(crate) async fn new(app: &str) -> Self {
        Self::over(connect().await, app)
    }

    pub(crate) fn over(client: Client, app: &str) -> Self {
        Self { client, app: app.to_owned() }
    }

    pub(crate) fn app(&self) -> &str {
        &self.app
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends `GET` with this target, without a timeout.
    pub(crate) async fn get(&self, target: &str) -> Exchange {
        self.send(head(), get(target)).await
    }

    /// Sends `GET` with this target and timeout.
    pub(crate) async fn get_within(&self, target: &str, head_timeout: Duration) -> Exchange {
        let mut head = head();
        head.head_timeout = Some(head_timeout);
        self.send(head, get(target)).await
    }

    pub(crate) async fn send(&self, head: RequestHead, request: Request<Body>) -> Exchange {
        self.send_raw(encode(&head, request).await).await
    }

    /// Sends any payload.
    pub(crate) async fn send_raw(&self, payload: Bytes) -> Exchange {
        let token = Subject::from(self.client.new_inbox());
        let inbox = self.client.subscribe(token.clone()).await.expect("a subscription");
        self.client
            .publish_with_reply(subject(&self.app), token.clone(), payload)
            .await
            .expect("a message sent");
        Exchange { client: self.client.clone(), token, inbox }
    }
}

pub(crate) fn head() -> RequestHead {
    RequestHead::new(ExchangeId::from_bytes([7; 16]))
}

pub(crate) async fn encode(head: &RequestHead, request: Request<Body>) -> Bytes {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.expect("a whole body");
    let trailers = body.trailers().cloned();
    head.encode(&parts, Edit::default(), body.to_bytes(), trailers.as_ref(), &Limits::default())
        .expect("a REQUEST")
}

/// The exchange of a request that was sent.
pub(crate) struct Exchange {
    client: Client,
    pub(crate) token: Subject,
    inbox: Subscriber,
}

impl Exchange {
    /// Waits for the next frame, and returns it with its reply subject.
    pub(crate) async fn frame(&mut self) -> (Frame, Option<Subject>) {
        decode(soon("a frame", self.inbox.next()).await.expect("an open subscription"))
    }

    /// Returns the next frame if it has arrived.
    pub(crate) fn waiting_frame(&mut self) -> Option<Frame> {
        let message = self.inbox.next().now_or_never()?.expect("an open subscription");
        Some(decode(message).0)
    }

    /// Waits for the response, and skips other frames.
    pub(crate) async fn response(&mut self) -> Box<ResponseFrame> {
        loop {
            match self.frame().await {
                (Frame::Working(_), _) => {}
                (Frame::Response(response), reply) => {
                    assert_eq!(reply, None, "nothing follows a whole response");
                    return response;
                }
                (other, _) => panic!("{other:?}"),
            }
        }
    }

    /// Waits for a response that the consumer sends again until it is confirmed, and confirms it.
    pub(crate) async fn doubtful_response(&mut self) -> Box<ResponseFrame> {
        loop {
            match self.frame().await {
                (Frame::Working(_), _) => {}
                (Frame::Response(response), Some(consumer)) => {
                    let (probe, reply) = self.frame().await;
                    assert!(matches!(probe, Frame::Probe), "{probe:?}");
                    assert_eq!(reply.as_ref(), Some(&consumer));
                    let gone = Reset { code: ResetCode::Gone, text: String::new(), ran: true };
                    self.send_frame(&consumer, gone.encode()).await;
                    return response;
                }
                (other, reply) => panic!("{other:?} {reply:?}"),
            }
        }
    }

    /// Waits for WORKING, and returns the consumer's token.
    pub(crate) async fn working(&mut self) -> Subject {
        let (frame, reply) = self.frame().await;
        assert!(matches!(frame, Frame::Working(_)), "{frame:?}");
        reply.expect("a token")
    }

    /// Sends a frame to the consumer's token.
    pub(crate) async fn send_frame(&self, consumer: &Subject, frame: Bytes) {
        self.client
            .publish_with_reply(consumer.clone(), self.token.clone(), frame)
            .await
            .expect("a message sent");
    }

    pub(crate) async fn cancel(&self, consumer: &Subject) {
        let reset = Reset { code: ResetCode::Cancel, text: String::new(), ran: true };
        self.send_frame(consumer, reset.encode()).await;
    }

    /// Waits for RESET, and returns its code and whether the handler ran.
    pub(crate) async fn reset(&mut self) -> (ResetCode, bool) {
        loop {
            match self.frame().await.0 {
                Frame::Working(_) => {}
                Frame::Reset(reset) => return (reset.code, reset.ran),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Unsubscribes for a while, as if the connection were lost.
    pub(crate) async fn away(self, duration: Duration) -> Self {
        let Self { client, token, inbox } = self;
        drop(inbox);
        settle(&client).await;
        tokio::time::sleep(duration).await;
        let inbox = client.subscribe(token.clone()).await.expect("a subscription");
        Self { client, token, inbox }
    }

    /// Unsubscribes for good, as if the gateway's process had ended.
    pub(crate) async fn leave(self) {
        let Self { client, inbox, .. } = self;
        drop(inbox);
        settle(&client).await;
    }
}

fn decode(message: Message) -> (Frame, Option<Subject>) {
    assert_eq!(message.status, None, "no subscriber");
    (Frame::decode(&message.payload, &Limits::default()).expect("a frame"), message.reply)
}
