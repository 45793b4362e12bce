//! What all calls of a service share.

pub(crate) mod ack_tokens;
pub(crate) mod recent;
pub(crate) mod tally;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use http::Extensions;
use tokio::sync::watch;

use self::ack_tokens::AckTokens;
use self::recent::Recent;
use self::tally::Tallies;
use crate::audit::AuditSink;
use crate::auth::Authenticator;
use crate::metrics::Metrics;
use crate::tenancy::Tenancy;
use crate::{BucketSettings, Connection};

/// What all calls share.
pub(crate) struct ServiceState {
    pub(crate) connection: Connection,
    pub(crate) authenticator: Box<dyn Authenticator>,
    pub(crate) tenancy: Box<dyn Tenancy>,
    pub(crate) audit: Box<dyn AuditSink>,
    pub(crate) peer: Option<PeerOf>,
    pub(crate) metrics: Metrics,
    pub(crate) tallies: Tallies,
    /// The time of a call whose client sets none, and the longest that it may set.
    pub(crate) timeout: Duration,
    pub(crate) longest: Duration,
    pub(crate) message_limit: usize,
    /// Lower-case names of NATS's own headers that clients may set.
    pub(crate) allowed_headers: HashSet<String>,
    pub(crate) queue: QueueLimits,
    pub(crate) kv_buckets: BucketSettings,
    pub(crate) object_buckets: BucketSettings,
    pub(crate) tokens: AckTokens,
    pub(crate) recent: Recent,
    /// True once no more streams are to be served.
    pub(crate) stopping: watch::Sender<bool>,
}

/// Reads a call's peer address out of its extensions.
pub(crate) type PeerOf = Box<dyn Fn(&Extensions) -> Option<SocketAddr> + Send + Sync>;

/// How much may wait for a subscriber that reads slowly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}
