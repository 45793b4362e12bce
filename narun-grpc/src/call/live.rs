//! Streams to clients that live on: counted, limited, and ended when the service stops.

use futures::StreamExt;
use futures::stream::{BoxStream, try_unfold};
use metrics::Gauge;
use tokio::sync::watch;
use tonic::Status;

use crate::call::MethodCall;
use crate::state::tally::Place;

/// A live subscription, as it is counted.
pub(crate) struct Live {
    gauge: Gauge,
    stopping: watch::Receiver<bool>,
    _place: Place,
}

/// Something that is read for as long as its client does.
pub(crate) trait Source: Send + 'static {
    type Item: Send;

    /// The next item. It is only asked for when there is room for it on the way to the client, and is dropped where it
    /// waits when the client leaves.
    fn next(&mut self) -> impl Future<Output = Result<Self::Item, Status>> + Send;
}

impl Live {
    /// One more, unless the tenant has as many as it may have, or the service stops.
    pub(crate) fn open(call: &MethodCall<'_>) -> Result<Self, Status> {
        let mut stopping = call.state.stopping.subscribe();
        if *stopping.borrow_and_update() {
            return Err(stopped());
        }
        let _place = call.tally.subscribe(call.space.quotas.subscriptions)?;
        let gauge = call.state.metrics.subscriptions.clone();
        gauge.increment(1);
        Ok(Self { gauge, stopping, _place })
    }

    /// Told when the service stops.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.clone()
    }

    /// What the source gives, until the service stops.
    pub(crate) fn items<S: Source>(self, source: S) -> BoxStream<'static, Result<S::Item, Status>> {
        try_unfold((self, source), async |(mut live, mut source)| {
            let item = tokio::select! {
                biased;
                _ = live.stopping.changed() => return Err(stopped()),
                item = source.next() => item?,
            };
            Ok(Some((item, (live, source))))
        })
        .boxed()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.gauge.decrement(1);
    }
}

pub(crate) fn stopped() -> Status {
    Status::unavailable("this server stops; connect to another")
}
