//! Who did what: the [`AuditSink`] seam.
//!
//! Every call, failed or not, is one [`AuditRecord`], given to the sink when the call has ended; of a stream, when that
//! has. [`TracingAudit`] makes an event of it, which any `tracing` subscriber can ship; [`JetStreamAudit`] stores it in
//! a stream.

mod jetstream;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use tonic::Code;
use tracing::{Level, enabled, info};

pub use self::jetstream::JetStreamAudit;
use crate::Method;
use crate::metrics::{audit_dropped, code_name};

/// Takes the records of all calls.
///
/// It must not block, and cannot fail a call: a sink that has no room loses the record, and says so by
/// [`AuditRecord::dropped`]. A closure that takes an [`AuditRecord`] is a sink too.
pub trait AuditSink: Send + Sync + 'static {
    /// Takes a record.
    fn record(&self, record: AuditRecord);

    /// Whether records are wanted at all at the moment. Default true.
    fn enabled(&self) -> bool {
        true
    }
}

impl<F> AuditSink for F
where
    F: Fn(AuditRecord) + Send + Sync + 'static,
{
    fn record(&self, record: AuditRecord) {
        self(record);
    }
}

/// One call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AuditRecord {
    /// When it began.
    pub time: SystemTime,
    /// Who made it; none if that was not found out.
    pub principal: Option<String>,
    /// The user that the request named, cut off after 256 bytes.
    pub user: String,
    /// The organization that the request named, cut off after 256 bytes.
    pub organization: String,
    /// Where it came from, if that is known.
    pub peer: Option<SocketAddr>,
    /// Its method.
    pub method: Method,
    /// What it was about, in the caller's names, cut off after 256 bytes.
    pub resource: String,
    /// How it ended; [`Code::Cancelled`] if the client left before.
    pub code: Code,
    /// How long it took.
    pub duration: Duration,
    /// Bytes of messages, values and objects that came from the client.
    pub bytes_received: u64,
    /// Bytes of messages, values and objects that went to it.
    pub bytes_sent: u64,
}

impl AuditRecord {
    /// The code's name, as in `NOT_FOUND`.
    pub const fn code_name(&self) -> &'static str {
        code_name(self.code)
    }

    /// Counts this record as lost, in the metric `nats_grpc_audit_dropped_total`.
    pub fn dropped(self) {
        audit_dropped();
    }
}

/// Makes an event of target `narun::audit` at level info of each record.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingAudit;

impl AuditSink for TracingAudit {
    fn record(&self, record: AuditRecord) {
        let AuditRecord { user, organization, resource, bytes_received, bytes_sent, .. } = &record;
        let principal = record.principal.as_deref().unwrap_or_default();
        let peer = record.peer.map_or(Cow::Borrowed(""), |peer| Cow::Owned(peer.to_string()));
        info!(
            target: "narun::audit",
            principal,
            user,
            organization,
            peer = &*peer,
            method = record.method.name(),
            resource,
            code = record.code_name(),
            duration_us = u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX),
            bytes_received,
            bytes_sent,
            "call"
        );
    }

    fn enabled(&self) -> bool {
        enabled!(target: "narun::audit", Level::INFO)
    }
}
