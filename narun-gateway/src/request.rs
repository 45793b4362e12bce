//! The way of one request over NATS: its body taken, encoded, sent or published, its response received.

mod client_body;
mod collect;
mod context;
mod direct;
mod durable;
mod failures;
mod head;
mod prefix;
mod remaining;
mod response;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response, header, request};
use http_body::Body as _;
use narun_core::{Body, ExchangeId, Failure, FailureKind};
use narun_nats::drive::{Call, IncomingResponse};
use pin_project::{pin_project, pinned_drop};
use tokio::time::Instant;
use tracing::{Span, field};

use crate::body::BoxError;
use crate::forward::request_id;
use crate::route::compiled::CompiledRoute;
use crate::state::GatewayState;
use client_body::expects_continue;
use collect::Collecting;
use context::RequestContext;
use direct::{DirectHead, Sent, converse, send};
use durable::{DurableFailure, DurableFuture, DurableReceiving};
use failures::too_large;
use prefix::{RequestBody, RequestPrefix, head_len};

pub(crate) use client_body::ClientBody;

/// A future of the response to a request that matched a route. Failures become responses through the gateway's hook.
#[pin_project(PinnedDrop)]
#[derive(Debug)]
pub(crate) struct RequestFuture<B> {
    state: Arc<GatewayState>,
    route: Arc<CompiledRoute>,
    context: RequestContext,
    started: Instant,
    span: Span,
    #[pin]
    stage: Stage<B>,
    /// Whether the outcome has been counted.
    counted: bool,
}

#[derive(Debug)]
#[pin_project(project = StageProj)]
#[expect(clippy::large_enum_variant, reason = "the large variant is the one that most requests take")]
enum Stage<B> {
    /// The request cannot be sent.
    Refused(Failure),
    /// The whole body of a direct request is being collected.
    Collecting(#[pin] Collecting<B>),
    /// The whole body of a durable request is being received.
    Receiving(DurableReceiving),
    /// The first bytes are taken of a body that may not fit a frame.
    Starting(ExchangeId, request::Parts, RequestPrefix<B>),
    /// The request is with a consumer.
    Calling(#[pin] Call),
    /// The same, and a task sends the remaining body.
    Streaming(Option<IncomingResponse>),
    /// The request is published to a stream.
    Durable(DurableFuture),
    /// The response has been returned.
    Done,
}

impl<B> RequestFuture<B>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    /// `problem` says what is wrong with the request's host. `None` if nothing is.
    pub(crate) fn new(
        state: Arc<GatewayState>,
        route: Arc<CompiledRoute>,
        request: Request<B>,
        problem: Option<&'static str>,
    ) -> Self {
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
        let context = RequestContext::new(&parts, &id, &route, started);
        let problem = problem.map(|problem| Failure::new(FailureKind::InvalidHead).with_detail(problem));
        let refused = problem.or_else(|| head::refusal(&parts));
        let stage = Stage::first(id, parts, body, refused, &state, &route);
        Self { state, route, context, started, span, stage, counted: false }
    }
}

impl<B> Stage<B>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn first(
        id: ExchangeId,
        parts: request::Parts,
        body: B,
        refused: Option<Failure>,
        state: &Arc<GatewayState>,
        route: &Arc<CompiledRoute>,
    ) -> Self {
        let announced = prefix::announced(&parts, &body);
        let length = announced.unwrap_or(body.size_hint().lower());
        if let Some(failure) = refused.or_else(|| refusal(length, state, route)) {
            ClientBody::discard(&parts, body, state.lingering());
            return Self::Refused(failure);
        }
        if route.durable().is_some() {
            return Self::Receiving(DurableReceiving::new(state.clone(), route.clone(), id, parts, body));
        }
        if body.is_end_stream() {
            return Self::collecting(id, parts, body, 0, state, route);
        }
        let room = state.room().saturating_sub(head_len(&parts));
        match announced.filter(|length| *length <= room as u64 && !expects_continue(&parts)) {
            Some(_) => Self::collecting(id, parts, body, room, state, route),
            None => {
                let body = ClientBody::new(&parts, body, state.lingering());
                Self::Starting(id, parts, RequestPrefix::new(body, room, route.max_body()))
            }
        }
    }

    fn collecting(
        id: ExchangeId,
        parts: request::Parts,
        body: B,
        limit: usize,
        state: &GatewayState,
        route: &CompiledRoute,
    ) -> Self {
        let total = route.total_timeout(&parts.headers).unwrap_or(Duration::MAX);
        let max_pause = route.timeout().min(total);
        let pace = (max_pause, state.least_rate(&parts.headers));
        Self::Collecting(Collecting::new(id, parts, body, limit, state.endpoint(), pace))
    }
}

impl<B> From<Sent> for Stage<B> {
    fn from(sent: Sent) -> Self {
        match sent {
            Sent::Whole(call) => Self::Calling(call),
            Sent::Streaming(incoming) => Self::Streaming(Some(incoming)),
        }
    }
}

impl<B> Future for RequestFuture<B>
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
            let (state, route, context) = (&*this.state, &*this.route, &*this.context);
            let outcome = match this.stage.as_mut().project() {
                StageProj::Refused(failure) => Err(failure.clone().into()),
                StageProj::Done => return Poll::Pending,
                StageProj::Collecting(mut collecting) => {
                    let whole = ready!(collecting.as_mut().poll_whole(state.endpoint(), cx));
                    let next = match state.is_disconnected() {
                        true => Err(FailureKind::Disconnected.into()),
                        false => whole.and_then(|(body, trailers)| {
                            let (id, parts) = (collecting.id, collecting.take_parts());
                            let body = RequestBody::<B>::whole(body, trailers);
                            let head = DirectHead { id, request_id: &context.request_id, parts: &parts };
                            send(state, route, &head, body, this.started.elapsed()).map(Stage::from)
                        }),
                    };
                    match next {
                        Err(failure) => Err(failure.into()),
                        Ok(next) => {
                            this.stage.set(next);
                            continue;
                        }
                    }
                }
                StageProj::Receiving(receiving) => match ready!(Pin::new(receiving).poll(cx)) {
                    Err(failure) => Err(failure.into()),
                    Ok(input) => {
                        let future = DurableFuture::new(state.clone(), route.clone(), input);
                        this.stage.set(Stage::Durable(future));
                        continue;
                    }
                },
                StageProj::Starting(id, parts, prefix) => {
                    let body = match expects_continue(parts) {
                        true => Ok(prefix.skip()),
                        false => ready!(prefix.poll(cx)),
                    };
                    let next = match state.is_disconnected() {
                        true => Err(FailureKind::Disconnected.into()),
                        false => body.and_then(|body| {
                            let head = DirectHead { id: *id, request_id: &context.request_id, parts };
                            send(state, route, &head, body, this.started.elapsed())
                        }),
                    };
                    match next {
                        Err(failure) => Err(failure.into()),
                        Ok(next) => {
                            this.stage.set(next.into());
                            continue;
                        }
                    }
                }
                StageProj::Calling(mut call) => {
                    let outcome = ready!(call.as_mut().poll(cx));
                    let counted = outcome.as_ref().map(|frame| frame.body.len()).map_err(Failure::kind);
                    route.metrics().exchanged(Some(counted), call.attempts());
                    let response = outcome.and_then(|frame| match frame.head.end {
                        true => response::whole(&context.method, frame),
                        false => response::streamed(state, route, context, frame, converse::<B>(state, call)),
                    });
                    response.map_err(DurableFailure::from)
                }
                StageProj::Streaming(streaming) => {
                    let Some(incoming) = streaming else { return Poll::Pending };
                    let outcome = ready!(incoming.poll_start(cx));
                    let counted = outcome.as_ref().map(|frame| frame.body.len()).map_err(Failure::kind);
                    route.metrics().exchanged(Some(counted), incoming.attempts());
                    let incoming = streaming.take();
                    let response = outcome.and_then(|frame| match incoming.filter(|_| !frame.head.end) {
                        None => response::whole(&context.method, frame),
                        Some(incoming) => response::streamed(state, route, context, frame, incoming),
                    });
                    response.map_err(DurableFailure::from)
                }
                StageProj::Durable(durable) => {
                    let outcome = ready!(Pin::new(durable).poll(cx));
                    let body = |response: &Response<Body>| response.body().size_hint().lower() as usize;
                    let counted = outcome.as_ref().map(body).map_err(|failed| failed.failure.kind());
                    route.metrics().exchanged(Some(counted), 1);
                    outcome
                }
            };
            return Poll::Ready(self.finish(outcome));
        }
    }
}

impl<B> RequestFuture<B> {
    fn finish(self: Pin<&mut Self>, outcome: Result<Response<Body>, DurableFailure>) -> Response<Body> {
        let mut this = self.project();
        this.stage.set(Stage::Done);
        let mut response = outcome.unwrap_or_else(|DurableFailure { failure, location }| {
            let failure = named(failure, this.route);
            this.state.failures().failed(&failure, this.route, &this.context.request_id);
            let mut response = this.state.respond(&failure, &this.context.of_failure());
            if let Some(location) = location {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        });
        request_id::complete(&mut response, Some(&this.context.request_id));
        this.span.record("http.response.status_code", response.status().as_u16());
        if response.status().is_server_error() {
            this.span.record("otel.status_code", "ERROR");
        }
        *this.counted = true;
        this.route.metrics().end(&this.context.method, Some(response.status()), this.started.elapsed());
        response
    }
}

#[pinned_drop]
impl<B> PinnedDrop for RequestFuture<B> {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        if !*this.counted {
            match this.stage.project() {
                StageProj::Calling(call) => this.route.metrics().exchanged(None, call.attempts()),
                StageProj::Durable(_) => this.route.metrics().exchanged(None, 1),
                StageProj::Streaming(Some(incoming)) => {
                    this.route.metrics().exchanged(None, incoming.attempts());
                }
                _ => {}
            }
            this.route.metrics().end(&this.context.method, None, this.started.elapsed());
        }
    }
}

/// The failure with the name of the app if that has no consumer.
fn named(failure: Failure, route: &CompiledRoute) -> Failure {
    match failure.kind() {
        FailureKind::NoConsumer => failure.with_detail(format!("app {}", route.app())),
        _ => failure,
    }
}

/// Why a request whose body has this length, or more, cannot be sent. Returns `None` if it can.
fn refusal(length: u64, state: &GatewayState, route: &CompiledRoute) -> Option<Failure> {
    if state.is_disconnected() {
        return Some(FailureKind::Disconnected.into());
    }
    (length > route.max_body() as u64).then(|| too_large(route.max_body()))
}
