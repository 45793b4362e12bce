//! The REQUEST, and what drives the exchange that begins with it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request;
use narun_core::exchange::Caller;
use narun_core::frame::RequestHead;
use narun_core::{ExchangeId, Failure, FailureKind};
use narun_nats::drive::{Call, Conversation, IncomingResponse};
use narun_nats::{Link, NatsLink};

use super::failures::unsendable;
use super::prefix::Beginning;
use super::remaining::RemainingBody;
use crate::body::BoxError;
use crate::route::compiled::CompiledRoute;
use crate::state::GatewayState;

/// An exchange with a consumer.
#[expect(clippy::large_enum_variant, reason = "the large variant is the one that most requests take")]
pub(super) enum Sent {
    /// The REQUEST has all there is to send: nothing more is needed than a future.
    Whole(Call<NatsLink>),
    /// The rest of its body is sent by a task.
    Streaming(IncomingResponse<NatsLink>),
}

/// Encodes a request with the beginning of its body, ready to be published; a body with more to come gets its task.
/// So much time has passed since it came.
pub(super) fn send<B>(
    state: &GatewayState,
    route: &Arc<CompiledRoute>,
    id: ExchangeId,
    parts: &request::Parts,
    mut beginning: Beginning<B>,
    passed: Duration,
) -> Result<Sent, Failure>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let endpoint = state.endpoint();
    let config = route.caller_config(parts, passed);
    if config.total_timeout.is_some_and(|left| left.is_zero()) {
        return Err(FailureKind::TimedOut.into());
    }
    let mut head = RequestHead::new(id);
    let fields = state.complete(&mut head, parts, id);
    head.head_timeout = Some(config.head_timeout).filter(|_| config.idle.is_none());
    head.total_timeout = config.total_timeout;
    head.credit = config.credit;
    head.end = beginning.body.is_none() && beginning.more.is_empty();
    let encode = |head: &RequestHead, beginning: &Beginning<B>| {
        let (inline, trailers) = (beginning.inline.clone(), beginning.trailers.as_ref());
        let frame = head.encode(parts, fields.edit(), inline, trailers, endpoint.limits());
        frame.map_err(|error| unsendable(&error))
    };
    let mut frame = encode(&head, &beginning)?;
    let mut tail = Bytes::new();
    if let over @ 1.. = frame.len().saturating_sub(state.room()) {
        head.end = false;
        tail = beginning.inline.split_off(beginning.inline.len().saturating_sub(over));
        frame = encode(&head, &beginning)?;
        if frame.len() > state.room() {
            let detail = "the head does not fit a message of the NATS server";
            return Err(Failure::new(FailureKind::FieldsTooLarge).with_detail(detail));
        }
    }
    let inline = beginning.inline.len();
    route.metrics().sent(inline);
    let [seed @ .., _, _, _, _, _, _, _, _] = *id.as_bytes();
    let seed = u64::from_le_bytes(seed);
    let (endpoint, to) = (endpoint.clone(), route.subject().clone());
    if head.end {
        return Ok(Sent::Whole(Call::new(endpoint, to, frame, config, seed).streaming(state.flow())));
    }
    let now = endpoint.link().now();
    let machine = Caller::new(now, config, seed).with_body(now, inline as u64, state.flow());
    let Beginning { more, body, trailers, .. } = beginning;
    let rest = RemainingBody::new(inline, [tail, more], body, trailers, route.clone());
    let registration = endpoint.register();
    let (conversation, incoming) = Conversation::new(endpoint, to, frame, machine, registration, Some(rest));
    state.spawn(conversation);
    Ok(Sent::Streaming(incoming))
}

/// Goes on with a response that is longer than one message, to a request that was not.
pub(super) fn converse<B>(state: &GatewayState, call: Pin<&mut Call<NatsLink>>) -> IncomingResponse<NatsLink>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    // Of the same type as the others, so that there is one kind of task.
    let (conversation, incoming) = call.converse::<RemainingBody<Pin<Box<B>>>>();
    state.spawn(conversation);
    incoming
}
