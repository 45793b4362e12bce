//! Live subscriptions: response streams without an end of their own. They are counted, limited, and ended when the
//! service stops.

use futures::StreamExt;
use futures::stream::{BoxStream, try_unfold};
use metrics::Gauge;
use tokio::sync::watch;
use tonic::Status;

use crate::call::MethodCall;
use crate::state::tally::CountedSubscription;

/// Lets one live subscription run, and counts it until it is dropped.
pub(crate) struct SubscriptionPermit {
    gauge: Gauge,
    stopping: watch::Receiver<bool>,
    _counted: CountedSubscription,
}

/// Where the items of a live subscription come from.
pub(crate) trait Source: Send + 'static {
    type Item: Send;

    /// The next item. Called when the client is ready for one; dropped while it waits if the client leaves.
    fn next(&mut self) -> impl Future<Output = Result<Self::Item, Status>> + Send;
}

impl SubscriptionPermit {
    /// Fails if the tenant has reached its quota of live subscriptions, or the service is stopping.
    pub(crate) fn open(call: &MethodCall<'_>) -> Result<Self, Status> {
        let mut stopping = call.state.stopping.subscribe();
        if *stopping.borrow_and_update() {
            return Err(stopped());
        }
        let _counted = call.tally.subscribe(call.space.quotas.subscriptions)?;
        let gauge = call.state.metrics.subscriptions.clone();
        gauge.increment(1);
        Ok(Self { gauge, stopping, _counted })
    }

    /// Becomes true when the service stops.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.clone()
    }

    /// The items of the source, until the service stops.
    pub(crate) fn items<S: Source>(self, source: S) -> BoxStream<'static, Result<S::Item, Status>> {
        try_unfold((self, source), async |(mut permit, mut source)| {
            let item = tokio::select! {
                biased;
                _ = permit.stopping.changed() => return Err(stopped()),
                item = source.next() => item?,
            };
            Ok(Some((item, (permit, source))))
        })
        .boxed()
    }
}

impl Drop for SubscriptionPermit {
    fn drop(&mut self) {
        self.gauge.decrement(1);
    }
}

pub(crate) fn stopped() -> Status {
    Status::unavailable("the service is stopping; connect to another replica")
}
