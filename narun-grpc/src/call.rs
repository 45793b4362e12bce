//! The way that every call goes: deadline, who is calling, whose names, then the method's own business; metrics, span
//! and audit around all of it.
//!
//! A method is an implementation of [`Unary`] or [`Streaming`] for its request, and knows nothing of all that; the way
//! itself is in `enter`.

pub(crate) mod buckets;
pub(crate) mod consumers;
pub(crate) mod enter;
mod identified;
pub(crate) mod live;
pub(crate) mod outgoing;
mod quota;
mod record;
pub(crate) mod streams;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use futures::Stream;
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
pub(crate) trait Unary: Identified + Send {
    const METHOD: Method;
    type Response;

    /// What the request itself asks to wait for at most, beside the time that work takes.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    fn run(self, call: &MethodCall<'_>) -> impl Future<Output = Result<Self::Response, Status>> + Send;
}

/// A request with a stream of responses.
pub(crate) trait Streaming: Identified + Send {
    const METHOD: Method;
    type Item: Weighed + Send + 'static;
    type Items: Stream<Item = Result<Self::Item, Status>> + Send + 'static;

    fn open(self, call: &MethodCall<'_>) -> impl Future<Output = Result<Self::Items, Status>> + Send;
}

/// Something of which there are bytes to count.
pub(crate) trait Weighed {
    fn weight(&self) -> u64;
}

/// A stream of responses to a client.
pub(crate) type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A call whose caller is known.
pub(crate) struct MethodCall<'a> {
    pub(crate) state: &'a Arc<ServiceState>,
    pub(crate) space: Space,
    pub(crate) tally: Arc<Tally>,
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

    /// How long something may be waited for, so that there is still time to answer.
    pub(crate) fn time_to_wait(&self) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        left - (left / 10).min(Duration::from_millis(100))
    }

    /// A client's headers as NATS's; none if there are none.
    pub(crate) fn headers(&self, headers: &BTreeMap<String, String>) -> Result<Option<HeaderMap>, Status> {
        convert::to_header_map(&self.state.allowed_headers, headers)
    }

    /// Counts what came from the client.
    pub(crate) fn received(&self, messages: u64, bytes: usize) {
        self.tally.received.add(messages, bytes as u64);
        self.record.received(messages, bytes as u64);
    }

    /// Counts what goes to the client.
    pub(crate) fn sent(&self, messages: u64, bytes: usize) {
        self.tally.sent.add(messages, bytes as u64);
        self.record.sent(messages, bytes as u64);
    }
}
