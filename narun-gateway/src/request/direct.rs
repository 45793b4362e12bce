//! Sends a direct request to its app, and spawns the driver of its exchange if a body is streamed.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, request};
use narun_core::exchange::Caller;
use narun_core::frame::RequestHead;
use narun_core::{ExchangeId, Failure, FailureKind};
use narun_nats::body::{BodyPrefix, Fitted, fit};
use narun_nats::drive::{Call, IncomingResponse, StreamedExchange};

use super::client_body::ClientBody;
use super::failures::unsendable;
use super::prefix::RequestBody;
use super::remaining::RemainingBody;
use crate::body::BoxError;
use crate::route::compiled::CompiledRoute;
use crate::state::GatewayState;

/// An exchange that has begun.
#[expect(clippy::large_enum_variant, reason = "the large variant is the one that most requests take")]
pub(super) enum Sent {
    /// The REQUEST has the whole body.
    Whole(Call),
    /// A task sends the remaining body.
    Streaming(IncomingResponse),
}

/// The head of a request that is sent.
#[derive(Debug)]
pub(super) struct DirectHead<'a> {
    pub(super) id: ExchangeId,
    pub(super) request_id: &'a HeaderValue,
    pub(super) parts: &'a request::Parts,
}

/// Encodes a request that came in `elapsed` ago, with as much of its body as fits the frame, and begins its exchange.
pub(super) fn send<B>(
    state: &GatewayState,
    route: &Arc<CompiledRoute>,
    direct: &DirectHead<'_>,
    body: RequestBody<B>,
    elapsed: Duration,
) -> Result<Sent, Failure>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let DirectHead { id, request_id, parts } = *direct;
    let endpoint = state.endpoint();
    let mut config = route.caller_config(parts, elapsed);
    config.grace = state.reconnect_grace();
    if config.total_timeout.is_some_and(|left| left.is_zero()) {
        return Err(FailureKind::TimedOut.into());
    }
    let mut head = RequestHead::new(id);
    let fields = state.complete(&mut head, parts, request_id);
    head.head_timeout = Some(config.head_timeout).filter(|_| config.idle.is_none());
    head.total_timeout = config.total_timeout;
    head.credit = config.credit;
    let RequestBody { prefix, following } = body;
    let is_whole = prefix.is_whole();
    let BodyPrefix { mut inline, rest } = prefix;
    let fitted = fit(&mut inline, state.room(), 0, |inline, cut| {
        head.end = is_whole && !cut;
        let frame =
            head.encode(parts, fields.edit(), inline.clone(), rest.trailers.as_ref(), endpoint.limits());
        frame.map_err(|error| unsendable(&error))
    })?;
    let Some(Fitted { frame, cut }) = fitted else {
        let detail = "the head does not fit a message of the NATS server";
        return Err(Failure::new(FailureKind::FieldsTooLarge).with_detail(detail));
    };
    let inline = inline.len();
    route.metrics().sent(inline);
    let [seed @ .., _, _, _, _, _, _, _, _] = *id.as_bytes();
    let seed = u64::from_le_bytes(seed);
    let (endpoint, to) = (endpoint.clone(), route.subject().clone());
    if head.end {
        return Ok(Sent::Whole(Call::new(endpoint, to, frame, config, seed).streaming(state.flow())));
    }
    let now = endpoint.now();
    let machine = Caller::new(now, config, seed).with_body(now, inline as u64, state.flow());
    let received = [cut.unwrap_or_default(), rest.data];
    let remaining = RemainingBody::new(inline, received, following, rest.trailers, route.clone());
    let (exchange, incoming) = StreamedExchange::new(endpoint, to, frame, machine, Some(remaining));
    state.spawn(exchange);
    Ok(Sent::Streaming(incoming))
}

/// Spawns the driver of an exchange whose response is streamed and whose request was sent whole.
pub(super) fn converse<B>(state: &GatewayState, call: Pin<&mut Call>) -> IncomingResponse
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    // The type of the body is that of `send`, so that there is one type of task.
    let (exchange, incoming) = StreamedExchange::<RemainingBody<ClientBody<B>>>::continue_call(call);
    state.spawn(exchange);
    incoming
}
