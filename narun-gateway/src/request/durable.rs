//! The way of a durable request: its body received, and stored if it is large; its outcome record created if it has one;
//! published, confirmed, and its response awaited.

mod admission;
mod delivery;
mod outcome;
mod publish;
mod receive;
mod upload;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Response;
use narun_core::frame::RequestHead;
use narun_core::{Body, FailureKind};
use tokio::time::Instant;

use crate::route::compiled::CompiledRoute;
use crate::state::GatewayState;
use delivery::{DurableDelivery, DurableInput, response};
use outcome::Terms;
use publish::Published;

pub(crate) use delivery::DurableFailure;
pub(crate) use receive::DurableReceiving;

/// A future of the response to a durable request. Boxed, because it would make those of direct requests larger.
pub(crate) struct DurableFuture(Pin<Box<dyn Future<Output = Result<Response<Body>, DurableFailure>> + Send>>);

impl DurableFuture {
    pub(crate) fn new(state: Arc<GatewayState>, route: Arc<CompiledRoute>, input: DurableInput) -> Self {
        Self(Box::pin(async move {
            match route.durable() {
                Some(durable) => DurableDelivery { state: &state, route: &route, durable }.run(input).await,
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

impl DurableDelivery<'_> {
    async fn run(&self, input: DurableInput) -> Result<Response<Body>, DurableFailure> {
        let deadline = Instant::now() + self.route.wait();
        let terms = Terms::of(&input, self.durable.respond_async, deadline)?;
        self.state.store().ready(deadline).await?;
        if let Some(terms) = terms {
            // Boxed, because it would make the futures of other requests larger.
            return Box::pin(self.run_recorded(input, terms)).await;
        }
        let head = RequestHead::new(input.id);
        let published = self.publish(head, input, true, deadline).await;
        let Published { mut call, .. } = published.map_err(|unpublished| unpublished.failure)?;
        Ok(response(call.response().await?))
    }
}
