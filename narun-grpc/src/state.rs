//! The state that all calls of a service share.

pub(crate) mod ack_tokens;
pub(crate) mod memory;
pub(crate) mod recent;
pub(crate) mod tally;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Extensions;
use tokio::sync::watch;

use self::ack_tokens::AckTokens;
use self::memory::{RequestMemory, WaitingBytes};
use self::recent::RecentDeliveries;
use self::tally::Tallies;
use crate::audit::AuditSink;
use crate::auth::Authenticator;
use crate::connection::ControlKey;
use crate::metrics::Metrics;
use crate::tenancy::Tenancy;
use crate::{BucketSettings, Connection};

/// The state that all calls share.
pub(crate) struct ServiceState {
    pub(crate) connection: Connection,
    pub(crate) authenticator: Box<dyn Authenticator>,
    pub(crate) tenancy: Box<dyn Tenancy>,
    pub(crate) audit: Box<dyn AuditSink>,
    pub(crate) peer: Option<FindPeer>,
    pub(crate) metrics: Metrics,
    pub(crate) tallies: Tallies,
    /// The time limit of a call whose client sets no deadline.
    pub(crate) timeout: Duration,
    /// The longest deadline that a client may set.
    pub(crate) longest: Duration,
    pub(crate) message_limit: usize,
    pub(crate) response_limit: usize,
    #[cfg(feature = "gzip")]
    pub(crate) compress_responses: bool,
    /// Headers of NATS's own that clients may set, in lower case.
    pub(crate) allowed_headers: HashSet<String>,
    pub(crate) queue: QueueLimits,
    /// The memory of requests that are being received.
    pub(crate) request_memory: Arc<RequestMemory>,
    /// The memory of messages that wait for subscribers.
    pub(crate) waiting: WaitingBytes,
    pub(crate) kv_buckets: BucketSettings,
    pub(crate) object_buckets: BucketSettings,
    pub(crate) tokens: AckTokens,
    pub(crate) control: ControlKey,
    pub(crate) recent: RecentDeliveries,
    /// True once live subscriptions are to end.
    pub(crate) stopping: watch::Sender<bool>,
}

/// Finds a call's peer address in its extensions.
pub(crate) type FindPeer = Box<dyn Fn(&Extensions) -> Option<SocketAddr> + Send + Sync>;

/// How much may be queued for a subscriber that reads slowly, and for all of a tenant and of the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) tenant: usize,
    pub(crate) all: usize,
}
