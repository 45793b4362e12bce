//! Audit records: the [`AuditSink`] trait and its implementations.
//!
//! Every call, failed or not, gives the sink one [`AuditRecord`] when the call or its response stream has ended.
//! [`TracingAudit`] emits it as an event for any `tracing` subscriber; [`JetStreamAudit`] stores it in a stream.

mod jetstream;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use tonic::Code;
use tracing::{Level, enabled, info};

pub use self::jetstream::JetStreamAudit;
use crate::Method;
use crate::metrics::{audit_dropped, code_name};

/// Receives the records of all calls. A closure that takes an [`AuditRecord`] is a sink too.
///
/// A sink must not block, and cannot fail a call. One that cannot keep a record counts it with
/// [`AuditRecord::dropped`].
pub trait AuditSink: Send + Sync + 'static {
    /// Receives a record.
    fn record(&self, record: AuditRecord);

    /// Whether the sink wants records at the moment. Default: true.
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

/// The record of one call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AuditRecord {
    /// When the call began.
    pub time: SystemTime,
    /// The name of the principal. `None` if the caller was not authenticated.
    pub principal: Option<String>,
    /// The user that the request names, cut off after 256 bytes.
    pub user: String,
    /// The organization that the request names, cut off after 256 bytes.
    pub organization: String,
    /// The address of the peer, if that is known.
    pub peer: Option<SocketAddr>,
    /// The method.
    pub method: Method,
    /// What the call was about, in the caller's names, cut off after 256 bytes.
    pub resource: String,
    /// The status code; [`Code::Cancelled`] if the client left before the end.
    pub code: Code,
    /// How long the call took.
    pub duration: Duration,
    /// Bytes of messages, values and objects received from the client.
    pub bytes_received: u64,
    /// Bytes of messages, values and objects sent to the client.
    pub bytes_sent: u64,
}

impl AuditRecord {
    /// The name of the code, such as `NOT_FOUND`.
    pub const fn code_name(&self) -> &'static str {
        code_name(self.code)
    }

    /// Counts this record as lost, in the metric `nats_grpc_audit_dropped_total`.
    pub fn dropped(self) {
        audit_dropped();
    }
}

/// Emits each record as a `tracing` event with target `narun::audit` and level info.
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
