//! What every call goes through: deadline, authentication, tenancy, then the method itself, with metrics, a span and
//! audit around them.
//!
//! A method implements [`Unary`] or [`Streaming`] for its request and sees a [`MethodCall`] only; the steps before it
//! are in `enter`.

pub(crate) mod buckets;
pub(crate) mod consumers;
pub(crate) mod enter;
mod expiry;
mod identified;
pub(crate) mod live;
pub(crate) mod outgoing;
mod quota;
mod record;
pub(crate) mod streams;

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::HeaderMap;
use futures::Stream;
use prost::Message;
use tokio::time::Instant;
use tonic::Status;

use self::identified::Identified;
use self::record::CallRecord;
use crate::state::ServiceState;
use crate::state::tally::Tally;
use crate::tenancy::Space;
use crate::tenant::Tenant;
use crate::{Connection, Method, convert};

/// A request with one response.
pub(crate) trait Unary: Identified + Clone + Send {
    const METHOD: Method;
    const ON_LOSS: OnLoss = OnLoss::Fail;
    type Response: Message;

    /// How long the request itself asks to wait, on top of the time that the work takes.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    fn run(self, call: &MethodCall<'_>) -> impl Future<Output = Result<Self::Response, Status>> + Send;
}

/// What becomes of a call in flight when the connection to NATS is lost.
pub(crate) enum OnLoss {
    /// It fails soon: it may have been done, and must not be done twice.
    Fail,
    /// It is repeated on the next connection: it changes nothing.
    Repeat,
    /// The method handles it.
    Handle,
}

/// A request with a stream of responses. Opening it is repeated if the connection is lost.
pub(crate) trait Streaming: Identified + Clone + Send {
    const METHOD: Method;
    type Item: Message + Weighed + 'static;
    type Items: Stream<Item = Result<Self::Item, Status>> + Send + 'static;

    fn open(self, call: &MethodCall<'_>) -> impl Future<Output = Result<Self::Items, Status>> + Send;
}

/// A response with a size in bytes, for metrics and audit.
pub(crate) trait Weighed {
    fn weight(&self) -> u64;
}

/// A stream of responses to a client.
pub(crate) type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// An authenticated call of a tenant, as its method sees it.
pub(crate) struct MethodCall<'a> {
    pub(crate) state: &'a Arc<ServiceState>,
    pub(crate) space: Space,
    pub(crate) tally: Arc<Tally>,
    /// When the credential of the caller ends.
    until: Option<SystemTime>,
    deadline: Instant,
    record: &'a CallRecord,
}

impl MethodCall<'_> {
    pub(crate) const fn tenant(&self) -> &Tenant {
        &self.space.tenant
    }

    pub(crate) const fn connection(&self) -> &Connection {
        &self.space.connection
    }

    /// Runs the method of a unary call.
    async fn run<R: Unary>(&self, request: R) -> Result<R::Response, Status> {
        match R::ON_LOSS {
            OnLoss::Fail => self.connection().unless_lost(pin!(request.run(self))).await,
            OnLoss::Repeat => self.connection().repeat(|| request.clone().run(self)).await,
            OnLoss::Handle => request.run(self).await,
        }
    }

    /// How long the method may wait and still have time to respond.
    pub(crate) fn time_to_wait(&self) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        left - (left / 10).min(Duration::from_millis(100))
    }

    /// Converts a client's headers to NATS headers. Returns `None` if there are none.
    pub(crate) fn headers(&self, headers: &BTreeMap<String, String>) -> Result<Option<HeaderMap>, Status> {
        convert::to_header_map(&self.state.allowed_headers, headers)
    }

    /// Counts messages and bytes from the client.
    pub(crate) fn received(&self, messages: u64, bytes: usize) {
        self.tally.received.add(messages, bytes as u64);
        self.record.received(messages, bytes as u64);
    }

    /// Counts messages and bytes to the client.
    pub(crate) fn sent(&self, messages: u64, bytes: usize) {
        self.tally.sent.add(messages, bytes as u64);
        self.record.sent(messages, bytes as u64);
    }
}
