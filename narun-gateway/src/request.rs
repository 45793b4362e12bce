//! One request on its way over NATS: received, encoded, called, answered.

mod collect;
mod direct;
mod durable;
mod prefix;
mod remaining;
mod response;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, Version, header, request};
use http_body::Body as _;
use narun_core::{Body, ExchangeId, Failure, FailureContext, FailureKind};
use narun_nats::NatsLink;
use narun_nats::drive::{Call, IncomingResponse};
use pin_project::{pin_project, pinned_drop};
use tokio::time::Instant;
use tracing::{Span, field};

use crate::Gateway;
use crate::body::BoxError;
use crate::forward::request_id::RequestId;
use crate::gateway::RouteEntry;
use collect::Receiving;
use direct::{Sent, converse, send};
use durable::{DurableFuture, Failed, Received};
use prefix::{Beginning, Start, head_len};

/// How long each part of a body is waited for that cannot be sent anywhere.
const LINGER: Duration = Duration::from_secs(1);

/// A future of the response; failures are answered as the gateway's hook says.
#[pin_project(PinnedDrop)]
#[derive(Debug)]
pub(crate) struct Exchange<B> {
    gateway: Gateway,
    route: Arc<RouteEntry>,
    client: Client,
    started: Instant,
    span: Span,
    #[pin]
    state: State<B>,
    /// Whether the outcome has been counted.
    counted: bool,
}

/// What a failure's response depends on, small enough to keep.
#[derive(Debug)]
struct Client {
    method: Method,
    /// What the client sent; none if that is not passed on.
    request_id: Option<HeaderValue>,
    id: ExchangeId,
    grpc: bool,
    /// When a gRPC call must be over, if its client can be told after the response has begun.
    deadline: Option<Instant>,
}

#[derive(Debug)]
#[pin_project(project = StateProj)]
enum State<B> {
    /// Cannot be sent at all.
    Refused(Failure),
    /// The request's body is being received, whole.
    Receiving(#[pin] Receiving<B>),
    /// A body that may be long is looked at: how it begins.
    Starting(ExchangeId, request::Parts, Start<B>),
    /// The request is with a consumer.
    Calling(#[pin] Call<NatsLink>),
    /// The same, and a task sends the rest of the request's body.
    Streaming(Option<IncomingResponse<NatsLink>>),
    /// The request goes to a stream, or is there.
    Durable(DurableFuture),
    /// All that could be done here is.
    Done,
}

impl<B: http_body::Body> Exchange<B> {
    pub(crate) fn new(gateway: Gateway, route: Arc<RouteEntry>, request: Request<B>) -> Self {
        let id = ExchangeId::from_bytes(rand::random());
        let (parts, body) = request.into_parts();
        let span = tracing::info_span!(
            "http.gateway",
            otel.kind = "client",
            otel.status_code = field::Empty,
            http.request.method = %parts.method,
            http.route = route.template(),
            http.response.status_code = field::Empty,
            url.path = parts.uri.path(),
            messaging.system = "nats",
            messaging.destination.name = route.subject().as_str(),
            messaging.message.conversation_id = %id,
            messaging.message.id = field::Empty,
        );
        route.metrics().begin();
        let started = Instant::now();
        let client = Client::new(&parts, id, &route, started);
        let announced = prefix::announced(&parts, &body);
        let state = if is_tunnel(&parts) {
            State::Refused(FailureKind::NotImplemented.into())
        } else if expects(&parts) && gateway.is_disconnected() {
            State::Refused(FailureKind::Disconnected.into())
        } else if announced.unwrap_or(body.size_hint().lower()) > route.max_body() as u64 {
            State::Refused(too_large(route.max_body()))
        } else if route.durable().is_some() {
            State::whole(id, parts, body, route.max_body(), &gateway, &route)
        } else if body.is_end_stream() {
            State::whole(id, parts, body, 0, &gateway, &route)
        } else {
            let room = gateway.room().saturating_sub(head_len(&parts));
            match announced.filter(|length| *length <= room as u64 && !expects(&parts)) {
                Some(_) => State::whole(id, parts, body, room, &gateway, &route),
                None => State::Starting(id, parts, Start::new(body, room, route.max_body())),
            }
        };
        Self { gateway, route, client, started, span, state, counted: false }
    }
}

impl<B> Future for Exchange<B>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Response<Body>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        let span = self.span.clone();
        let _entered = span.enter();
        loop {
            let mut this = self.as_mut().project();
            let outcome = match this.state.as_mut().project() {
                StateProj::Refused(failure) => Err(failure.clone().into()),
                StateProj::Done => return Poll::Pending,
                StateProj::Receiving(mut receiving) => {
                    let whole = ready!(receiving.as_mut().poll_whole(this.gateway.endpoint().link(), cx));
                    let next = match this.gateway.is_disconnected() {
                        true => Err(FailureKind::Disconnected.into()),
                        false => whole.and_then(|(body, trailers)| {
                            let (id, parts) = (receiving.id, receiving.take_parts());
                            if this.route.durable().is_some() {
                                let received = Received { id, parts, body, trailers };
                                let durable =
                                    DurableFuture::new(this.gateway.clone(), this.route.clone(), received);
                                return Ok(State::Durable(durable));
                            }
                            let beginning = Beginning::<B>::whole(body, trailers);
                            send(this.gateway, this.route, id, &parts, beginning, this.started.elapsed())
                                .map(State::from)
                        }),
                    };
                    match next {
                        Err(failure) => Err(failure.into()),
                        Ok(next) => {
                            this.state.set(next);
                            continue;
                        }
                    }
                }
                StateProj::Starting(id, parts, start) => {
                    let begun = match expects(parts) {
                        true => Ok(start.untouched()),
                        false => ready!(start.poll(cx)),
                    };
                    let next = match this.gateway.is_disconnected() {
                        true => Err(FailureKind::Disconnected.into()),
                        false => begun.and_then(|begun| {
                            send(this.gateway, this.route, *id, parts, begun, this.started.elapsed())
                        }),
                    };
                    match next {
                        Err(failure) => Err(failure.into()),
                        Ok(next) => {
                            this.state.set(next.into());
                            continue;
                        }
                    }
                }
                StateProj::Calling(mut call) => {
                    let outcome = ready!(call.as_mut().poll(cx));
                    let counted = outcome.as_ref().map(|frame| frame.body.len()).map_err(Failure::kind);
                    this.route.metrics().exchanged(Some(counted), call.attempts());
                    let method = &this.client.method;
                    let answer = outcome.and_then(|frame| match frame.head.end {
                        true => response::whole(method, frame),
                        false => {
                            let incoming = converse::<B>(this.gateway, call);
                            let deadline = this.client.deadline;
                            response::streamed(this.gateway, this.route, method, deadline, frame, incoming)
                        }
                    });
                    answer.map_err(Failed::from)
                }
                StateProj::Streaming(streaming) => {
                    let Some(incoming) = streaming else { return Poll::Pending };
                    let outcome = ready!(incoming.poll_head(cx));
                    let counted = outcome.as_ref().map(|frame| frame.body.len()).map_err(Failure::kind);
                    this.route.metrics().exchanged(Some(counted), incoming.attempts());
                    let (method, incoming) = (&this.client.method, streaming.take());
                    let answer = outcome.and_then(|frame| match incoming.filter(|_| !frame.head.end) {
                        None => response::whole(method, frame),
                        Some(incoming) => {
                            let deadline = this.client.deadline;
                            response::streamed(this.gateway, this.route, method, deadline, frame, incoming)
                        }
                    });
                    answer.map_err(Failed::from)
                }
                StateProj::Durable(durable) => {
                    let outcome = ready!(Pin::new(durable).poll(cx));
                    let body = |response: &Response<Body>| response.body().size_hint().lower() as usize;
                    let counted = outcome.as_ref().map(body).map_err(|failed| failed.failure.kind());
                    this.route.metrics().exchanged(Some(counted), 1);
                    outcome
                }
            };
            return Poll::Ready(self.finish(outcome));
        }
    }
}

impl<B> Exchange<B> {
    fn finish(self: Pin<&mut Self>, outcome: Result<Response<Body>, Failed>) -> Response<Body> {
        let mut this = self.project();
        this.state.set(State::Done);
        let response = outcome.unwrap_or_else(|Failed { failure, location }| {
            tracing::debug!(%failure, route = this.route.template(), "request failed");
            let mut response = this.gateway.respond(&failure, &this.client.context());
            if let Some(location) = location {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        });
        this.span.record("http.response.status_code", response.status().as_u16());
        if response.status().is_server_error() {
            this.span.record("otel.status_code", "ERROR");
        }
        *this.counted = true;
        this.route.metrics().end(&this.client.method, Some(response.status()), this.started.elapsed());
        response
    }
}

#[pinned_drop]
impl<B> PinnedDrop for Exchange<B> {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        if !*this.counted {
            match this.state.project() {
                StateProj::Calling(call) => this.route.metrics().exchanged(None, call.attempts()),
                StateProj::Durable(_) => this.route.metrics().exchanged(None, 1),
                StateProj::Streaming(Some(incoming)) => {
                    this.route.metrics().exchanged(None, incoming.attempts());
                }
                _ => {}
            }
            this.route.metrics().end(&this.client.method, None, this.started.elapsed());
        }
    }
}

impl<B> State<B> {
    /// Waits for the whole body.
    fn whole(
        id: ExchangeId,
        parts: request::Parts,
        body: B,
        limit: usize,
        gateway: &Gateway,
        route: &RouteEntry,
    ) -> Self {
        // An answer before a body that is on its way would close the connection, and might not be seen.
        let lingers = gateway.is_disconnected();
        let total = route.total_timeout(&parts.headers).unwrap_or(Duration::MAX);
        let patience = route.timeout().min(total).min(if lingers { LINGER } else { Duration::MAX });
        let link = gateway.endpoint().link();
        Self::Receiving(Receiving::new(id, parts, body, limit, link, patience))
    }
}

impl<B> From<Sent> for State<B> {
    fn from(sent: Sent) -> Self {
        match sent {
            Sent::Whole(call) => Self::Calling(call),
            Sent::Streaming(incoming) => Self::Streaming(Some(incoming)),
        }
    }
}

impl Client {
    fn new(parts: &request::Parts, id: ExchangeId, route: &RouteEntry, now: Instant) -> Self {
        let request_id = RequestId::passed_on(&parts.headers).cloned();
        let grpc = FailureContext::is_grpc(&parts.headers);
        // Clients of older versions may take an end for the end, and never see trailers.
        let tells_late = grpc && parts.version >= Version::HTTP_2;
        let limit = route.total_timeout(&parts.headers).filter(|_| tells_late);
        Self { method: parts.method.clone(), request_id, id, grpc, deadline: limit.map(|limit| now + limit) }
    }

    fn context(&self) -> FailureContext {
        let request_id = self.request_id.clone().unwrap_or_else(|| RequestId::made(&self.id));
        FailureContext::new(self.method.clone(), Some(request_id), self.grpc)
    }
}

/// CONNECT and WebSocket want a connection of their own.
fn is_tunnel(parts: &request::Parts) -> bool {
    parts.method == Method::CONNECT
        || parts.headers.get_all(header::UPGRADE).iter().any(|upgrade| {
            let upgrade = upgrade.as_bytes().split(|byte| *byte == b',');
            upgrade.into_iter().any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"websocket"))
        })
}

/// Whether the client waits to be told that it may send its body.
fn expects(parts: &request::Parts) -> bool {
    let expect = parts.headers.get(header::EXPECT);
    expect.is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn too_large(limit: usize) -> Failure {
    Failure::new(FailureKind::ContentTooLarge).with_detail(format!("the limit is {limit} bytes"))
}

/// The HTTP client failed in the middle of its request.
fn broken_off(error: impl Into<BoxError>) -> Failure {
    let error: BoxError = error.into();
    tracing::debug!(%error, "request body broke off");
    FailureKind::BadRequest.into()
}
