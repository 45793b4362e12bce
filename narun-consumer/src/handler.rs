//! One call of the user's service, from a free slot to a collected response.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, StatusCode, response};
use narun_core::Body;
use narun_core::link::{Collect, CollectError};
use pin_project::pin_project;
use tower_service::Service;

use crate::admission::Slot;
use crate::error::BoxError;

/// A future of the response, or of why there is none.
#[pin_project]
pub(crate) struct Handler<S: Service<Request<Body>, Response = Response<B>>, B> {
    #[pin]
    stage: Stage<S, S::Future, B>,
    method: Method,
    /// The largest body that is collected.
    limit: usize,
    slot: Option<Slot>,
}

#[pin_project(project = StageProj)]
enum Stage<S, F, B> {
    /// Waiting for a slot.
    Queued { slot: BoxFuture<'static, Slot>, call: Option<(S, Request<Body>)> },
    /// Waiting for the service to be ready.
    Starting { service: S, request: Option<Request<Body>> },
    /// The service is at work.
    Running(#[pin] F),
    /// Its response's body is being collected.
    Collecting {
        parts: Option<response::Parts>,
        #[pin]
        body: Collect<B>,
    },
    /// The outcome was given.
    Over,
}

/// A response whose body is all there.
#[derive(Debug)]
pub(crate) struct Collected {
    pub(crate) parts: response::Parts,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    /// What the body's length would have been, where none is sent.
    pub(crate) omitted: Option<u64>,
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum HandlerError {
    Panic,
    Service(BoxError),
    /// The response's body broke off.
    Body(BoxError),
    TooLarge,
}

impl<E: Into<BoxError>> From<CollectError<E>> for HandlerError {
    fn from(error: CollectError<E>) -> Self {
        match error {
            CollectError::TooLarge => Self::TooLarge,
            CollectError::Body(error) => Self::Body(error.into()),
        }
    }
}

impl<S, B> Handler<S, B>
where
    S: Service<Request<Body>, Response = Response<B>>,
{
    /// A call that starts when polled, if there is a slot already, or else when `next` gives one.
    pub(crate) fn new(
        service: S,
        request: Request<Body>,
        slot: Result<Slot, BoxFuture<'static, Slot>>,
        limit: usize,
    ) -> Self {
        let method = request.method().clone();
        let (stage, slot) = match slot {
            Ok(slot) => (Stage::Starting { service, request: Some(request) }, Some(slot)),
            Err(next) => (Stage::Queued { slot: next, call: Some((service, request)) }, None),
        };
        Self { stage, method, limit, slot }
    }

    /// Whether it has a slot.
    pub(crate) const fn has_started(&self) -> bool {
        self.slot.is_some()
    }

    /// Whether the service has seen the request.
    pub(crate) const fn was_called(&self) -> bool {
        !matches!(self.stage, Stage::Queued { .. } | Stage::Starting { .. })
    }
}

impl<S, B> Future for Handler<S, B>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    type Output = Result<Collected, HandlerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // What a panic leaves behind is dropped with this future, and never looked at.
        let poll = AssertUnwindSafe(|| {
            let outcome = self.as_mut().poll_stages(cx);
            if outcome.is_ready() {
                // Dropped here, so that it may panic even then.
                self.as_mut().project().stage.set(Stage::Over);
            }
            outcome
        });
        catch_unwind(poll).unwrap_or(Poll::Ready(Err(HandlerError::Panic)))
    }
}

impl<S, B> Handler<S, B>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    fn poll_stages(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Collected, HandlerError>> {
        let mut this = self.project();
        loop {
            let next = match this.stage.as_mut().project() {
                StageProj::Queued { slot, call } => {
                    let slot = ready!(slot.as_mut().poll(cx));
                    *this.slot = Some(slot);
                    let Some((service, request)) = call.take() else { return Poll::Pending };
                    Stage::Starting { service, request: Some(request) }
                }
                StageProj::Starting { service, request } => {
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        return Poll::Ready(Err(HandlerError::Service(error.into())));
                    }
                    let Some(request) = request.take() else { return Poll::Pending };
                    Stage::Running(service.call(request))
                }
                StageProj::Running(future) => match ready!(future.poll(cx)) {
                    Err(error) => return Poll::Ready(Err(HandlerError::Service(error.into()))),
                    Ok(response) if has_no_content(this.method, response.status()) => {
                        let omitted = omitted_length(&response);
                        let (parts, _) = response.into_parts();
                        return Poll::Ready(Ok(Collected {
                            parts,
                            body: Bytes::new(),
                            trailers: None,
                            omitted,
                        }));
                    }
                    Ok(response) => {
                        let (parts, body) = response.into_parts();
                        Stage::Collecting { parts: Some(parts), body: Collect::new(body, *this.limit) }
                    }
                },
                StageProj::Collecting { parts, body } => {
                    let (body, trailers) = ready!(body.poll(cx)).map_err(HandlerError::from)?;
                    let Some(parts) = parts.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(Collected { parts, body, trailers, omitted: None }));
                }
                StageProj::Over => return Poll::Pending,
            };
            this.stage.set(next);
        }
    }
}

/// The length to tell of a response to HEAD: that of the content that GET would have got (RFC 9110 8.6).
///
/// An empty body is most likely one whose content the service has dropped itself. Responses that have no content
/// whatever the method tell no length, or that of another response, which only the service knows.
fn omitted_length<B: http_body::Body>(response: &Response<B>) -> Option<u64> {
    let other = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    response.body().size_hint().exact().filter(|length| *length > 0 && !other)
}

/// Responses that never have content (RFC 9110 6.4.1).
fn has_no_content(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
