//! A request on its way through a stream: its outcome's record made if it is kept, its body stored if it is large,
//! published, confirmed, answered.

mod outcome;
mod publish;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, request};
use narun_core::frame::{RequestHead, ResponseFrame};
use narun_core::{Body, ExchangeId, Failure, FailureKind};
use tokio::time::Instant;

use crate::route::compiled::{CompiledRoute, DurableRoute};
use crate::state::GatewayState;

use outcome::Terms;
use publish::Published;

/// A request that has been received whole.
#[derive(Debug)]
pub(crate) struct DurableInput {
    /// The request's id for logs and `X-Request-Id`, and that of the exchange unless a key decides.
    pub(crate) id: ExchangeId,
    pub(crate) parts: request::Parts,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// Why there is no response, and where one may be later.
#[derive(Debug)]
pub(crate) struct DurableFailure {
    pub(crate) failure: Failure,
    pub(crate) location: Option<HeaderValue>,
}

impl<F: Into<Failure>> From<F> for DurableFailure {
    fn from(failure: F) -> Self {
        Self { failure: failure.into(), location: None }
    }
}

/// A future of the response to a durable request. Boxed, so that direct ones need not be as large.
pub(crate) struct DurableFuture(Pin<Box<dyn Future<Output = Result<Response<Body>, DurableFailure>> + Send>>);

impl DurableFuture {
    pub(crate) fn new(state: Arc<GatewayState>, route: Arc<CompiledRoute>, received: DurableInput) -> Self {
        Self(Box::pin(async move {
            match route.durable() {
                Some(durable) => {
                    DurableDelivery { state: &state, route: &route, durable }.run(received).await
                }
                None => Err(FailureKind::StreamMissing.into()),
            }
        }))
    }
}

impl Future for DurableFuture {
    type Output = Result<Response<Body>, DurableFailure>;

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
struct DurableDelivery<'a> {
    state: &'a GatewayState,
    route: &'a CompiledRoute,
    durable: &'a DurableRoute,
}

impl DurableDelivery<'_> {
    async fn run(&self, received: DurableInput) -> Result<Response<Body>, DurableFailure> {
        let deadline = Instant::now() + self.route.wait();
        let terms = Terms::of(&received, self.durable.respond_async, deadline)?;
        self.state.store().ready(deadline).await?;
        if let Some(terms) = terms {
            // Boxed, as what is not kept need not be as large.
            return Box::pin(self.run_kept(received, terms)).await;
        }
        let head = RequestHead::new(received.id);
        let published = self.publish(head, &received, true, deadline).await;
        drop(received);
        let Published { mut call, .. } = published.map_err(|unpublished| unpublished.failure)?;
        Ok(response(call.response().await?))
    }
}

/// The response that came as a frame.
pub(crate) fn response(frame: Box<ResponseFrame>) -> Response<Body> {
    Response::from_parts(frame.parts, Body::from(frame.body).with_trailers(frame.trailers))
}
