//! One request on its way over NATS: received, encoded, called, answered.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header, request};
use http_body::Body as _;
use narun_core::frame::{EncodeError, RequestHead};
use narun_core::link::{Call, Collect, CollectError, Link, NatsLink, Timer, TokioTimer};
use narun_core::{Body, ExchangeId, Failure, FailureContext, FailureKind, Time};
use pin_project::{pin_project, pinned_drop};
use tokio::time::Instant;
use tracing::{Span, field};

use crate::Gateway;
use crate::body::BoxError;
use crate::durable::{DurableFuture, Failed, Received, response};
use crate::forward::request_id::RequestId;
use crate::gateway::RouteEntry;

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
}

#[derive(Debug)]
#[pin_project(project = StateProj)]
enum State<B> {
    /// Cannot be sent at all.
    Refused(FailureKind),
    /// The request's body is being received.
    Receiving(#[pin] Receiving<B>),
    /// The request is with a consumer.
    Calling(#[pin] Call<NatsLink>),
    /// The request goes to a stream, or is there.
    Durable(DurableFuture),
}

#[derive(Debug)]
#[pin_project]
struct Receiving<B> {
    id: ExchangeId,
    parts: request::Parts,
    #[pin]
    body: Collect<B>,
    /// How much of it had come when the deadline was last moved.
    progress: usize,
    #[pin]
    timer: TokioTimer,
    patience: Duration,
    deadline: Time,
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
        let client = Client::new(&parts, id);
        let disconnected = gateway.is_disconnected();
        let refused = if is_tunnel(&parts) {
            Some(FailureKind::NotImplemented)
        } else if disconnected && parts.headers.contains_key(header::EXPECT) {
            Some(FailureKind::Disconnected)
        } else {
            None
        };
        let state = match refused {
            Some(kind) => State::Refused(kind),
            None => {
                let link = gateway.endpoint().link();
                // An answer before a body that is on its way would close the connection, and might not be seen.
                let patience = if disconnected { route.timeout().min(LINGER) } else { route.timeout() };
                let limit = match route.durable() {
                    Some(_) => route.max_body(),
                    None => route.max_body().min(gateway.endpoint().limits().frame),
                };
                State::Receiving(Receiving {
                    id,
                    parts,
                    body: Collect::new(body, limit),
                    progress: 0,
                    timer: link.timer(),
                    patience,
                    deadline: link.now() + patience,
                })
            }
        };
        Self { gateway, route, client, started: Instant::now(), span, state, counted: false }
    }
}

impl<B> Future for Exchange<B>
where
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    type Output = Response<Body>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        let span = self.span.clone();
        let _entered = span.enter();
        loop {
            let mut this = self.as_mut().project();
            let outcome = match this.state.as_mut().project() {
                StateProj::Refused(kind) => Err(Failed::from(*kind)),
                StateProj::Receiving(mut receiving) => {
                    let whole = ready!(receiving.as_mut().poll_whole(this.gateway.endpoint().link(), cx));
                    let next = match this.gateway.is_disconnected() {
                        true => Err(FailureKind::Disconnected.into()),
                        false => whole.and_then(|(body, trailers)| {
                            receiving.send(body, trailers, this.gateway, this.route)
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
                StateProj::Calling(mut call) => {
                    let outcome = ready!(call.as_mut().poll(cx));
                    let counted = outcome.as_ref().map(|frame| frame.body.len()).map_err(Failure::kind);
                    this.route.metrics().exchanged(Some(counted), call.attempts());
                    outcome.map(response).map_err(Failed::from)
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
        let this = self.project();
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
                StateProj::Refused(_) | StateProj::Receiving(_) => {}
            }
            this.route.metrics().end(&this.client.method, None, this.started.elapsed());
        }
    }
}

impl<B> Receiving<B>
where
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    /// Ready once the whole body is there, or once it is clear that it is not to be.
    fn poll_whole(
        self: Pin<&mut Self>,
        link: &NatsLink,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Bytes, Option<HeaderMap>), Failure>> {
        let mut this = self.project();
        if let Poll::Ready(collected) = this.body.as_mut().poll(cx) {
            return Poll::Ready(collected.map_err(|error| match error {
                CollectError::TooLarge => too_large(this.body.limit()),
                CollectError::Body(error) => {
                    let error: BoxError = error.into();
                    tracing::debug!(%error, "request body broke off");
                    FailureKind::BadRequest.into()
                }
            }));
        }
        if *this.progress != this.body.received() {
            *this.progress = this.body.received();
            *this.deadline = link.now() + *this.patience;
        }
        ready!(this.timer.as_mut().poll_until(cx, *this.deadline));
        Poll::Ready(Err(FailureKind::RequestTimedOut.into()))
    }

    /// How the request goes on.
    fn send(
        mut self: Pin<&mut Self>,
        body: Bytes,
        trailers: Option<HeaderMap>,
        gateway: &Gateway,
        route: &Arc<RouteEntry>,
    ) -> Result<State<B>, Failure> {
        if route.durable().is_none() {
            return self.call(body, trailers.as_ref(), gateway, route).map(State::Calling);
        }
        let this = self.as_mut().project();
        let (nothing, ()) = Request::new(()).into_parts();
        let parts = std::mem::replace(this.parts, nothing);
        let received = Received { id: *this.id, parts, body, trailers };
        Ok(State::Durable(DurableFuture::new(gateway.clone(), route.clone(), received)))
    }

    /// The call that sends the request.
    fn call(
        self: Pin<&mut Self>,
        body: Bytes,
        trailers: Option<&HeaderMap>,
        gateway: &Gateway,
        route: &RouteEntry,
    ) -> Result<Call<NatsLink>, Failure> {
        let this = self.project();
        let endpoint = gateway.endpoint();
        let config = route.caller_config(&this.parts.method);
        let mut head = RequestHead::new(*this.id);
        let (peer, fields) = gateway.fields(this.parts, *this.id);
        if let Some(peer) = peer {
            head.scheme = peer.scheme().clone();
            head.peer = Some(peer.address());
        }
        head.head_timeout = Some(config.head_timeout);
        head.total_timeout = config.total_timeout;
        head.max_payload = endpoint.link().client().max_payload() as u64;
        let size = body.len();
        let limits = endpoint.limits();
        let frame = head
            .encode(this.parts, fields.edit(), body, trailers, limits)
            .map_err(|error| unsendable(&error))?;
        let room = limits.frame.min(endpoint.link().client().max_payload());
        if frame.len() > room {
            return Err(too_large(room.saturating_sub(frame.len() - size)));
        }
        route.metrics().sent(size);
        let [seed @ .., _, _, _, _, _, _, _, _] = *this.id.as_bytes();
        let seed = u64::from_le_bytes(seed);
        Ok(Call::new(endpoint.clone(), route.subject().clone(), frame, config, seed))
    }
}

impl Client {
    fn new(parts: &request::Parts, id: ExchangeId) -> Self {
        let request_id = RequestId::passed_on(&parts.headers).cloned();
        Self { method: parts.method.clone(), request_id, id, grpc: FailureContext::is_grpc(&parts.headers) }
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

fn too_large(limit: usize) -> Failure {
    Failure::new(FailureKind::ContentTooLarge).with_detail(format!("the limit is {limit} bytes"))
}

pub(crate) fn unsendable(error: &EncodeError) -> Failure {
    let kind = match error {
        EncodeError::TargetTooLong { .. } => FailureKind::UriTooLong,
        _ => FailureKind::FieldsTooLarge,
    };
    Failure::new(kind).with_detail(error.to_string())
}
