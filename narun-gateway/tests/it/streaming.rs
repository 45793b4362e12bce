//! Consumers and HTTP clients with streamed bodies.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::{StatusCode, Subject, Subscriber};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, Method, Request, Response};
use http_body::Frame as Piece;
use http_body_util::BodyExt;
use narun_core::exchange::{Callee, CalleeEvent, CalleeTransmit, Cancelled};
use narun_core::fields::Edit;
use narun_core::frame::{Frame, RequestFrame, ResetCode, ResponseHead};
use narun_core::{BodyErrorKind, Limits, Time};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::consumer::Exchange;
use crate::harness::soon;

/// A consumer in one exchange. It makes progress only while the test waits for something.
pub(crate) struct Handler {
    pub(crate) request: RequestFrame,
    pub(crate) gateway: Subject,
    /// The code of the RESET that was received.
    pub(crate) reset: Option<ResetCode>,
    /// How many bytes the test has sent.
    pub(crate) sent: usize,
    callee: Callee<Subject>,
    client: async_nats::Client,
    token: Subject,
    inbox: Subscriber,
    began: Instant,
    event: Option<CalleeEvent>,
}

impl Handler {
    /// Starts with a request.
    pub(crate) async fn new(exchange: Exchange) -> Self {
        let Exchange { request, gateway, client, .. } = exchange;
        let token = Subject::from(client.new_inbox());
        let inbox = client.subscribe(token.clone()).await.expect("a subscription");
        let mut callee = Callee::new(Time::ZERO, &request.head, gateway.clone(), 0, Arc::default());
        if !request.head.end {
            let inline = request.body.clone();
            callee = callee.with_body(Time::ZERO, request.head.head_timeout, inline);
        }
        Self {
            request,
            gateway,
            reset: None,
            sent: 0,
            callee,
            client,
            token,
            inbox,
            began: Instant::now(),
            event: None,
        }
    }

    /// The next part of the request's body.
    pub(crate) async fn read(&mut self) -> Option<Result<Piece<Bytes>, BodyErrorKind>> {
        loop {
            let read = self.callee.poll_read();
            self.flush().await;
            match read {
                Poll::Ready(read) => return read,
                Poll::Pending => self.turn().await,
            }
        }
    }

    /// The remaining body of the request, with its trailers.
    pub(crate) async fn read_all(&mut self) -> Result<(Bytes, Option<HeaderMap>), BodyErrorKind> {
        let (mut all, mut trailers) = (BytesMut::new(), None);
        while let Some(piece) = self.read().await {
            match piece?.into_data() {
                Ok(data) => all.extend_from_slice(&data),
                Err(piece) => trailers = piece.into_trailers().ok(),
            }
        }
        Ok((all.freeze(), trailers))
    }

    /// Stops reading.
    pub(crate) async fn stop(&mut self) {
        self.callee.stop();
        self.flush().await;
    }

    /// Responds with a head and the first bytes of a longer body.
    pub(crate) async fn begin(&mut self, response: Response<&'static str>) {
        let (parts, inline) = response.into_parts();
        let mut head = ResponseHead::new();
        head.end = false;
        let frame = head.encode(&parts, Edit::default(), inline.as_bytes(), None, &Limits::default());
        let (now, frame) = (self.now(), frame.expect("a RESPONSE"));
        self.callee.respond_with_body(now, frame, inline.len() as u64);
        self.flush().await;
    }

    /// Responds with a whole body.
    pub(crate) async fn ok(&mut self, content: &'static str) {
        let (parts, ()) = Response::new(()).into_parts();
        let frame =
            ResponseHead::new().encode(&parts, Edit::default(), content.as_bytes(), None, &Limits::default());
        self.callee.respond(self.now(), frame.expect("a RESPONSE"));
        self.flush().await;
    }

    /// Sends a part of the response's body when there is credit. Returns `false` if the exchange is over.
    pub(crate) async fn send(&mut self, data: Bytes) -> bool {
        while !self.callee.wants_data() && !self.callee.is_ended() {
            self.turn().await;
        }
        self.sent += data.len();
        self.callee.send(self.now(), data);
        self.flush().await;
        !self.callee.is_ended()
    }

    /// Whether a part of the response may be sent now.
    pub(crate) fn wants_data(&self) -> bool {
        self.callee.wants_data()
    }

    /// How many bytes of the request's body are buffered.
    pub(crate) fn queued(&self) -> usize {
        self.callee.queued()
    }

    /// Ends the response.
    pub(crate) async fn finish(&mut self, trailers: Option<HeaderMap>) {
        self.callee.finish(self.now(), trailers);
        self.flush().await;
        while !self.callee.is_ended() {
            self.turn().await;
        }
    }

    /// Aborts the exchange.
    pub(crate) async fn abort(&mut self) {
        self.callee.abort(ResetCode::Internal, "", true);
        self.flush().await;
    }

    /// Sends a whole body.
    pub(crate) async fn send_all(&mut self, body: &Bytes, trailers: Option<HeaderMap>) {
        let mut rest = body.clone();
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(50_000));
            assert!(self.send(piece).await, "it ended too early: {:?}", self.event);
        }
        self.finish(trailers).await;
    }

    /// Waits until the exchange is over, and returns why.
    pub(crate) async fn cancelled(&mut self) -> Cancelled {
        soon("the end of an exchange", async {
            loop {
                if let Some(CalleeEvent::Cancelled(why)) = self.event {
                    return why;
                }
                self.turn().await;
            }
        })
        .await
    }

    /// Handles the messages of a moment.
    pub(crate) async fn turn(&mut self) {
        self.flush().await;
        let at = self.callee.poll_timeout().map_or(Duration::MAX, Time::since_origin);
        let wait = at.saturating_sub(self.now().since_origin()).min(Duration::from_millis(50));
        let message = tokio::time::timeout(wait, self.inbox.next()).await;
        let now = self.now();
        match message {
            Ok(Some(message)) if message.status == Some(StatusCode::NO_RESPONDERS) => {
                self.callee.handle_no_responders(now);
            }
            Ok(Some(message)) => {
                let frame = Frame::decode(&message.payload, &Limits::default()).expect("a frame");
                if let Frame::Reset(reset) = &frame {
                    self.reset = Some(reset.code);
                }
                self.callee.handle_frame(now, frame, message.reply);
            }
            Ok(None) => panic!("the subscription is closed"),
            Err(_) if self.callee.poll_timeout().is_some_and(|at| at <= now) => {
                self.callee.handle_timeout(now);
            }
            Err(_) => {}
        }
        self.flush().await;
        self.event = self.event.or(self.callee.poll_event());
    }

    /// Publishes a frame past the state machine.
    pub(crate) async fn publish(&self, payload: Bytes) {
        let (to, reply) = (self.gateway.clone(), self.token.clone());
        self.client.publish_with_reply(to, reply, payload).await.expect("a message sent");
    }

    /// Ends like a process.
    pub(crate) async fn vanish(self) {
        let Self { client, inbox, .. } = self;
        drop(inbox);
        crate::harness::settle(&client).await;
    }

    async fn flush(&mut self) {
        while let Some(transmit) = self.callee.poll_transmit() {
            let CalleeTransmit { to, payload, reply } = transmit;
            let sent = match reply {
                true => self.client.publish_with_reply(to, self.token.clone(), payload).await,
                false => self.client.publish(to, payload).await,
            };
            sent.expect("a message sent");
        }
    }

    fn now(&self) -> Time {
        Time::new(self.began.elapsed())
    }
}

/// Bytes in which each position differs from its neighbours.
pub(crate) fn noise(length: usize) -> Bytes {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect::<Vec<_>>().into()
}

/// A request body that the test sends part by part.
pub(crate) struct Upload {
    pieces: mpsc::UnboundedReceiver<Result<Piece<Bytes>, std::io::Error>>,
    polled: Arc<AtomicUsize>,
    taken: Arc<AtomicUsize>,
}

/// The sending end of an [`Upload`].
pub(crate) struct Uploader {
    pieces: mpsc::UnboundedSender<Result<Piece<Bytes>, std::io::Error>>,
    polled: Arc<AtomicUsize>,
    taken: Arc<AtomicUsize>,
}

pub(crate) fn upload() -> (Uploader, Request<Upload>) {
    let (sender, pieces) = mpsc::unbounded_channel();
    let (polled, taken) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let body = Upload { pieces, polled: polled.clone(), taken: taken.clone() };
    let request = Request::builder().method(Method::POST).uri("/").body(body).expect("a request");
    (Uploader { pieces: sender, polled, taken }, request)
}

impl Uploader {
    pub(crate) fn send(&self, data: impl Into<Bytes>) {
        // Some tests drop the receiver first.
        let _ = self.pieces.send(Ok(Piece::data(data.into())));
    }

    pub(crate) fn finish(self, trailers: Option<HeaderMap>) {
        if let Some(trailers) = trailers {
            let _ = self.pieces.send(Ok(Piece::trailers(trailers)));
        }
    }

    pub(crate) fn break_off(self) {
        let _ = self.pieces.send(Err(std::io::Error::other("broken")));
    }

    /// How often the body was polled.
    pub(crate) fn polled(&self) -> usize {
        self.polled.load(Ordering::SeqCst)
    }

    /// How many bytes were read.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }

    /// Whether the body was dropped.
    pub(crate) fn is_dropped(&self) -> bool {
        self.pieces.is_closed()
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece<Bytes>, std::io::Error>>> {
        self.polled.fetch_add(1, Ordering::SeqCst);
        let piece = self.pieces.poll_recv(cx);
        if let Poll::Ready(Some(Ok(piece))) = &piece {
            self.taken.fetch_add(piece.data_ref().map_or(0, Bytes::len), Ordering::SeqCst);
        }
        piece
    }
}

/// Waits for the next part of a response's body.
pub(crate) async fn next<B>(body: &mut B) -> Option<Result<Piece<B::Data>, B::Error>>
where
    B: http_body::Body + Unpin,
{
    soon("a part of a body", body.frame()).await
}

/// Waits until a response's body fails, and returns why.
pub(crate) async fn broken<B>(body: B) -> BodyErrorKind
where
    B: http_body::Body<Data = Bytes, Error = narun_gateway::BoxError>,
{
    let error = soon("the end of a body", body.collect()).await.expect_err("it breaks off");
    error.downcast_ref::<narun_core::BodyError>().expect("a body's error").kind()
}

/// The head of a streamed response.
pub(crate) fn streamed_response() -> Response<&'static str> {
    Response::new("")
}

/// A body of these pieces, all ready.
pub(crate) fn pieces(
    body: &Bytes,
    length: usize,
) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send + use<> {
    let mut rest = body.clone();
    let pieces = std::iter::from_fn(move || {
        let piece = rest.split_to(rest.len().min(length));
        (!piece.is_empty()).then(|| Ok(Piece::data(piece)))
    });
    http_body_util::StreamBody::new(futures::stream::iter(pieces))
}
