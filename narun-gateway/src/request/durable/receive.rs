//! Receives the body of a durable request: in memory if it fits the message, otherwise as an object, while it is received.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, request};
use narun_core::{ExchangeId, Failure, FailureKind};
use narun_nats::body::Segments;
use narun_nats::jetstream;
use tokio::time::timeout;

use super::delivery::{DurableBody, DurableInput};
use super::upload::{Upload, poll_once};
use crate::body::BoxError;
use crate::forward::request_id;
use crate::pace::Pace;
use crate::request::client_body::ClientBody;
use crate::request::failures::too_large;
use crate::request::prefix::{announced, head_len};
use crate::route::compiled::CompiledRoute;
use crate::state::GatewayState;

/// A future of a durable request whose body was received. Boxed, because it would make those of direct requests larger.
pub(crate) struct DurableReceiving(Pin<Box<dyn Future<Output = Result<DurableInput, Failure>> + Send>>);

/// How far a body was received in memory.
enum Collected {
    /// All of it.
    Whole(Option<HeaderMap>),
    /// Up to these bytes, which do not fit.
    Until(Bytes),
}

impl DurableReceiving {
    pub(crate) fn new<B>(
        state: Arc<GatewayState>,
        route: Arc<CompiledRoute>,
        id: ExchangeId,
        parts: request::Parts,
        body: B,
    ) -> Self
    where
        B: http_body::Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let body = ClientBody::new(&parts, body, state.lingering());
        Self(Box::pin(async move { receive(&state, &route, id, parts, body).await }))
    }
}

async fn receive<B>(
    state: &GatewayState,
    route: &CompiledRoute,
    id: ExchangeId,
    parts: request::Parts,
    mut body: ClientBody<B>,
) -> Result<DurableInput, Failure>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let limit = route.max_body();
    let room = jetstream::max_stored_frame(state.endpoint().max_payload()).saturating_sub(head_len(&parts));
    let mut pace = Pace::new(state.pace(route, &parts.headers));
    let mut held = state.bodies().hold();
    let mut collected = Segments::default();
    let announced = announced(&parts, &body);
    let is_large = announced.is_some_and(|length| length > room as u64);
    let end = loop {
        if is_large {
            break Collected::Until(Bytes::new());
        }
        let mut next = pin!(pace.next(&mut body));
        let frame = match poll_once(next.as_mut()).await {
            Some(frame) => frame?,
            // A client that pauses must not hold what others need.
            None if collected.received() > 0 && held.is_short() => break Collected::Until(Bytes::new()),
            None => next.await?,
        };
        let Some(frame) = frame else { break Collected::Whole(None) };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => break Collected::Whole(frame.into_trailers().ok()),
        };
        let length = collected.received() + data.len();
        if length > limit {
            return Err(too_large(limit));
        }
        // If many bodies are received at once, there may be no room for another one in memory.
        if length > room || !held.try_grow(data.len()) {
            break Collected::Until(data);
        }
        collected.push(data);
    };
    if state.is_disconnected() {
        return Err(FailureKind::Disconnected.into());
    }
    let data = collected.take();
    let (body, trailers) = match end {
        Collected::Whole(trailers) => (DurableBody::Inline { data, held }, trailers),
        Collected::Until(next) => {
            let store = state.store();
            let patience = route.timeout();
            let length = announced.unwrap_or(limit as u64).min(limit as u64);
            let stored = async {
                let room = timeout(patience, store.room(length)).await;
                let (bodies, room) = room.map_err(|_| FailureKind::JetStreamUnavailable)??;
                let upload = Upload { id, first: data, next, body, pace, held, room, limit, patience };
                upload.run(store.background(), bodies).await
            };
            let (stored, trailers) = stored.await.inspect_err(|failure| {
                if failure.kind() == FailureKind::JetStreamUnavailable {
                    store.missed();
                }
            })?;
            (DurableBody::Stored(Box::new(stored)), trailers)
        }
    };
    if state.is_disconnected() {
        return Err(FailureKind::Disconnected.into());
    }
    let request_id = request_id::of_request(&parts.headers, &id);
    Ok(DurableInput { id, request_id, parts, body, trailers })
}

impl Future for DurableReceiving {
    type Output = Result<DurableInput, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for DurableReceiving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableReceiving").finish_non_exhaustive()
    }
}
