//! A request on its way through a stream: its body stored if it is large, published, confirmed, answered.

mod chores;
mod store;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, request};
use narun_core::exchange::SubmissionConfig;
use narun_core::frame::{RequestHead, ResponseFrame};
use narun_core::link::{NatsLink, Submit, Task};
use narun_core::{Body, ExchangeId, Failure, FailureKind};
use tokio::time::{Instant, timeout_at};

use crate::Gateway;
use crate::exchange::unsendable;
use crate::gateway::{DurableRoute, RouteEntry};

use chores::Parked;

pub(crate) use store::Store;

/// What a frame's message has beside it: subject, headers, and room for what else JetStream may put there.
const MARGIN: usize = 4096;

/// A request that has been received whole.
#[derive(Debug)]
pub(crate) struct Received {
    /// The request's id for logs and `X-Request-Id`, and that of the exchange unless a key decides.
    pub(crate) id: ExchangeId,
    pub(crate) parts: request::Parts,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// Why there is no response, and where one may be later.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) location: Option<HeaderValue>,
}

impl<F: Into<Failure>> From<F> for Failed {
    fn from(failure: F) -> Self {
        Self { failure: failure.into(), location: None }
    }
}

/// A future of the response to a durable request. Boxed, so that direct ones need not be as large.
pub(crate) struct DurableFuture(Pin<Box<dyn Future<Output = Result<Response<Body>, Failed>> + Send>>);

impl DurableFuture {
    pub(crate) fn new(gateway: Gateway, route: Arc<RouteEntry>, received: Received) -> Self {
        Self(Box::pin(async move {
            match route.durable() {
                Some(durable) => Delivery { gateway: &gateway, route: &route, durable }.run(received).await,
                None => Err(FailureKind::StreamMissing.into()),
            }
        }))
    }
}

impl Future for DurableFuture {
    type Output = Result<Response<Body>, Failed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for DurableFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableFuture").finish_non_exhaustive()
    }
}

/// What the delivery of a request depends on besides the request.
struct Delivery<'a> {
    gateway: &'a Gateway,
    route: &'a RouteEntry,
    durable: &'a DurableRoute,
}

impl Delivery<'_> {
    async fn run(&self, received: Received) -> Result<Response<Body>, Failed> {
        let deadline = Instant::now() + self.route.wait();
        self.gateway.store().ready(deadline).await?;
        let head = RequestHead::new(received.id);
        let mut submit = self.publish(head, received, true, deadline).await?;
        Ok(response(submit.answer().await?))
    }

    /// Puts the request into the stream; a body that does not fit beside it, too.
    async fn publish(
        &self,
        mut head: RequestHead,
        received: Received,
        answer: bool,
        deadline: Instant,
    ) -> Result<Submit<NatsLink>, Failed> {
        let endpoint = self.gateway.endpoint();
        let store = self.gateway.store();
        let size = received.body.len();
        let room = endpoint.link().client().max_payload().saturating_sub(MARGIN);
        let mut parked = None;
        let frame = match self.encode(&mut head, &received, room)? {
            Some(frame) => frame,
            None => {
                let park = async {
                    let bodies = store.bodies().await?;
                    store.chores().park(bodies, head.id, received.body.clone()).await
                };
                let stored = timeout_at(deadline, park).await.map_err(|_| not_in_time())??;
                head.object = Some(Box::new(stored.object().clone()));
                parked = Some(stored);
                self.encode(&mut head, &received, room)?.ok_or(FailureKind::FieldsTooLarge)?
            }
        };
        let task = Task {
            to: self.route.subject().clone(),
            stream: store.tasks().namespace().task_stream(),
            id: head.id,
            frame,
            expiry: self.durable.expiry,
            answer,
        };
        let config = SubmissionConfig {
            wait: deadline.saturating_duration_since(Instant::now()),
            retry_for: store.tasks().settings().get_duplicate_window() / 2,
            ..SubmissionConfig::default()
        };
        let mut submit = Submit::new(endpoint.clone(), task, config);
        if let Some(parked) = &mut parked {
            parked.keep();
        }
        let accepted = submit.accepted().await;
        self.route.metrics().published(accepted.as_ref().copied().map_err(Failure::kind), size);
        match accepted {
            Ok(duplicate) => {
                if duplicate && submit.published() == 1 {
                    // Somebody else's message is in the stream, with a body of its own.
                    parked.into_iter().for_each(Parked::discard);
                }
                Ok(submit)
            }
            Err(failure) => {
                if !submit.may_be_stored() {
                    parked.into_iter().for_each(Parked::discard);
                }
                if failure.kind() == FailureKind::StreamMissing {
                    store.missed();
                }
                Err(failure.into())
            }
        }
    }

    /// The REQUEST, if it fits; with a body that is held as an object, that is not in it.
    fn encode(
        &self,
        head: &mut RequestHead,
        received: &Received,
        room: usize,
    ) -> Result<Option<Bytes>, Failure> {
        let inline = if head.object.is_some() { Bytes::new() } else { received.body.clone() };
        if inline.len() > room {
            return Ok(None);
        }
        let (peer, fields) = self.gateway.fields(&received.parts, received.id);
        if let Some(peer) = peer {
            head.scheme = peer.scheme().clone();
            head.peer = Some(peer.address());
        }
        let trailers = received.trailers.as_ref();
        let limits = self.gateway.endpoint().limits();
        head.max_payload = self.gateway.endpoint().link().client().max_payload() as u64;
        let frame = head
            .encode(&received.parts, fields.edit(), inline, trailers, limits)
            .map_err(|error| unsendable(&error))?;
        Ok((frame.len() <= room).then_some(frame))
    }
}

/// The response that came as a frame.
pub(crate) fn response(frame: Box<ResponseFrame>) -> Response<Body> {
    Response::from_parts(frame.parts, Body::from(frame.body).with_trailers(frame.trailers))
}

fn not_in_time() -> Failure {
    Failure::new(FailureKind::JetStreamUnavailable).with_detail("the body was not stored in time")
}
