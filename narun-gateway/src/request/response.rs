//! The HTTP response that a RESPONSE, and what follows it, becomes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, header};
use http_body::{Frame, SizeHint};
use narun_core::frame::ResponseFrame;
use narun_core::{Body, BodyError, BodyErrorKind, Failure, FailureKind};
use narun_nats::NatsLink;
use narun_nats::body::has_content;
use narun_nats::drive::IncomingResponse;
use tokio::time::Instant;

use super::context::RequestContext;
use crate::grpc;
use crate::route::compiled::CompiledRoute;
use crate::state::GatewayState;

/// A response that has come whole.
pub(super) fn whole(method: &Method, frame: Box<ResponseFrame>) -> Result<Response<Body>, Failure> {
    if !has_content(method, frame.parts.status) {
        return Ok(Response::from_parts(frame.parts, Body::empty()));
    }
    if announced(&frame.parts.headers)?.is_some_and(|length| length != frame.body.len() as u64) {
        return Err(Failure::new(FailureKind::BadAnswer).with_detail("not as long as its content-length"));
    }
    let body = Body::from(frame.body).with_trailers(frame.trailers);
    Ok(Response::from_parts(frame.parts, body))
}

/// A response whose content is still to come; a gRPC call ends with a status at its deadline.
pub(super) fn streamed(
    state: &Arc<GatewayState>,
    route: &Arc<CompiledRoute>,
    context: &RequestContext,
    frame: Box<ResponseFrame>,
    incoming: IncomingResponse<NatsLink>,
) -> Result<Response<Body>, Failure> {
    // Without a reader the exchange is cancelled.
    if !has_content(&context.method, frame.parts.status) {
        return Ok(Response::from_parts(frame.parts, Body::empty()));
    }
    let left = announced(&frame.parts.headers)?;
    let (route, _state) = (route.clone(), state.clone());
    let content = Content { incoming: Some(incoming), left, deadline: context.deadline, route, _state };
    Ok(Response::from_parts(frame.parts, Body::streaming(content)))
}

/// The length that a response claims to have.
fn announced(fields: &HeaderMap) -> Result<Option<u64>, Failure> {
    let mut lengths = fields.get_all(header::CONTENT_LENGTH).iter().map(|length| {
        let digits = length.to_str().ok().filter(|length| length.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|digits| digits.parse::<u64>().ok())
    });
    let Some(first) = lengths.next() else { return Ok(None) };
    match first.filter(|_| lengths.all(|other| other == first)) {
        Some(length) => Ok(Some(length)),
        None => Err(Failure::new(FailureKind::BadAnswer).with_detail("an invalid content-length")),
    }
}

/// Content as it comes, held against its announced length. Dropped before its end, it cancels the exchange.
#[derive(Debug)]
struct Content {
    /// None once it has ended, well or not.
    incoming: Option<IncomingResponse<NatsLink>>,
    /// How much is still to come, if that was announced.
    left: Option<u64>,
    /// When a gRPC call is late.
    deadline: Option<Instant>,
    route: Arc<CompiledRoute>,
    /// Keeps the tasks of exchanges alive.
    _state: Arc<GatewayState>,
}

impl Content {
    fn count(&mut self, data: &Bytes) -> Result<(), BodyErrorKind> {
        self.route.metrics().received(data.len());
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(data.len() as u64).ok_or(BodyErrorKind::Length)?;
        }
        Ok(())
    }

    /// What remains to be said when nothing more comes than trailers.
    fn check_length(&self) -> Result<(), BodyErrorKind> {
        match self.left {
            Some(1..) => Err(BodyErrorKind::Length),
            _ => Ok(()),
        }
    }

    /// Whether a gRPC client can be told that its time is over: what it has got is not the whole for it then.
    fn is_late(&self, kind: BodyErrorKind) -> bool {
        kind == BodyErrorKind::TimedOut
            && self.left.is_none()
            && self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    fn broken(&mut self, kind: BodyErrorKind) -> BodyError {
        self.incoming = None;
        tracing::debug!(%kind, route = self.route.template(), "response broke off");
        self.route.metrics().reset(match kind {
            BodyErrorKind::Gap => "gap",
            BodyErrorKind::TimedOut => "timeout",
            BodyErrorKind::TooLarge => "too_large",
            BodyErrorKind::Length => "length",
            _ => "reset",
        });
        kind.into()
    }
}

impl http_body::Body for Content {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let frame = match ready!(Pin::new(incoming).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                let is_late = self.is_late(error.kind());
                let broken = self.broken(error.kind());
                return Poll::Ready(Some(match is_late {
                    true => Ok(Frame::trailers(grpc::deadline_exceeded())),
                    false => Err(broken),
                }));
            }
            None => {
                return Poll::Ready(match self.check_length() {
                    Err(kind) => Some(Err(self.broken(kind))),
                    Ok(()) => {
                        self.incoming = None;
                        None
                    }
                });
            }
        };
        let checked = match frame.data_ref() {
            Some(data) => self.count(data),
            None => self.check_length(),
        };
        Poll::Ready(Some(match checked {
            Ok(()) => Ok(frame),
            Err(kind) => Err(self.broken(kind)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(|incoming| incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        // A server that has written all of an announced length does not ask for the end.
        if self.incoming.is_some() && self.left != Some(0) {
            self.route.metrics().reset("cancelled");
        }
    }
}
