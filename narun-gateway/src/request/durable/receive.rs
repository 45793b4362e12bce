//! Receives the body of a durable request: in memory if it fits the message, otherwise as an object, while it is received.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, request};
use narun_core::{ExchangeId, Failure, FailureKind};
use narun_nats::body::Segments;
use narun_nats::jetstream::{self, BodyStore};
use tokio::time::timeout;

use super::admission::{Admission, MOVING};
use super::delivery::{DurableBody, DurableInput};
use super::upload::{Upload, poll_once};
use crate::body::BoxError;
use crate::forward::request_id;
use crate::jetstream::storing_failed;
use crate::pace::Pace;
use crate::request::client_body::ClientBody;
use crate::request::failures::too_large;
use crate::request::prefix::{announced, head_len};
use crate::route::compiled::CompiledRoute;
use crate::state::GatewayState;

/// A future of a durable request whose body was received. Boxed, because it would make those of direct requests larger.
pub(crate) struct DurableReceiving(Pin<Box<dyn Future<Output = Result<DurableInput, Failure>> + Send>>);

/// The bucket, with room for what was received of a body.
type Admitted = Box<(BodyStore, Admission)>;

/// How far a body was received in memory.
enum Collected {
    /// All of it.
    Whole(Option<HeaderMap>),
    /// Up to these bytes, which do not fit. The bucket has room for all that was received.
    Until(Bytes, Admitted),
}

/// The bucket to which a body goes that is not held in memory.
struct Bucket<'a> {
    state: &'a GatewayState,
    /// The length that the client has declared.
    declared: Option<u64>,
    /// The most bytes of the body.
    limit: usize,
    /// How long to wait for the bucket, or for room in memory.
    patience: Duration,
}

impl Bucket<'_> {
    /// Whether the bucket has room for the declared length.
    async fn check(&self) -> Result<(), Failure> {
        let length = self.declared.unwrap_or_default().min(self.limit as u64);
        self.within(async {
            let (_, room) = self.state.store().room().await?;
            room.check(length).await.map_err(|error| storing_failed(&error))
        })
        .await
    }

    /// The bucket, with room for what has arrived. Cancel safe.
    async fn admit(&self, arrived: usize, waited: Duration) -> Result<Admitted, Failure> {
        self.within(async {
            let (bodies, room) = self.state.store().room().await?;
            let mut admission = Admission::new(room, self.declared, self.limit as u64);
            let admitted = admission.arrived(arrived as u64, waited).await;
            admitted.map_err(|error| storing_failed(&error))?;
            Ok(Box::new((bodies, admission)))
        })
        .await
    }

    async fn within<T>(&self, found: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        if self.state.is_disconnected() {
            return Err(FailureKind::Disconnected.into());
        }
        let found = timeout(self.patience, found).await;
        let found = found.unwrap_or_else(|_| Err(FailureKind::JetStreamUnavailable.into()));
        found.inspect_err(|failure| self.failed(failure))
    }

    fn failed(&self, failure: &Failure) {
        if failure.kind() == FailureKind::JetStreamUnavailable {
            self.state.store().missed();
        }
    }
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
    let bucket = Bucket { state, declared: announced(&parts, &body), limit, patience: route.timeout() };
    let is_large = bucket.declared.is_some_and(|length| length > room as u64);
    if is_large {
        bucket.check().await?;
    }
    // A large body is held until it is seen to move.
    let inline = if is_large { room.min(MOVING) } else { room };
    let mut is_refused = false;
    let end = loop {
        let waited = pace.waited();
        let frame = {
            let mut next = pin!(pace.next(&mut body));
            match poll_once(next.as_mut()).await {
                Some(frame) => frame?,
                // A client that pauses must not hold what others need.
                None if collected.received() > 0 && !is_refused && held.is_short() => tokio::select! {
                    frame = next.as_mut() => frame?,
                    admitted = bucket.admit(collected.received(), waited) => match admitted {
                        Ok(admitted) => break Collected::Until(Bytes::new(), admitted),
                        Err(failure) if is_large => return Err(failure),
                        // It fits in a message so far.
                        Err(_) => {
                            is_refused = true;
                            next.await?
                        }
                    },
                },
                None => next.await?,
            }
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
        if length > inline || !held.try_grow(data.len()) {
            let admitted = match is_refused && length <= room {
                true => None,
                false => Some(bucket.admit(length, pace.waited()).await),
            };
            match admitted {
                Some(Ok(admitted)) => break Collected::Until(data, admitted),
                Some(Err(failure)) if length > room || is_large => return Err(failure),
                // It fits in a message so far.
                _ => held.grow(data.len(), bucket.patience).await?,
            }
            is_refused = true;
        }
        collected.push(data);
    };
    let data = collected.take();
    let (body, trailers) = match end {
        Collected::Whole(trailers) => (DurableBody::Inline { data, held }, trailers),
        Collected::Until(next, admitted) => {
            let (bodies, admission) = *admitted;
            let patience = bucket.patience;
            let upload = Upload { id, first: data, next, body, pace, held, admission, limit, patience };
            let stored = upload.run(state.store().background(), bodies).await;
            let (stored, trailers) = stored.inspect_err(|failure| bucket.failed(failure))?;
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
