use std::time::{Duration, SystemTime};

use async_nats::jetstream::Context;
use futures::future::join_all;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::debug;

use super::{AuditRecord, AuditSink};
use crate::metrics::audit_dropped;

/// Queued records, at most.
const QUEUE: usize = 4096;

/// Records published before their acknowledgements are awaited.
const BATCH: usize = 64;

/// How long JetStream may take to store a record.
const PATIENCE: Duration = Duration::from_secs(5);

/// Publishes each record as JSON to a subject, which a stream must capture.
///
/// Up to 4,096 records are queued. Records beyond that, and those that JetStream does not store within 5 s, are lost and
/// counted. The stream must exist. Dropping this loses the queued records.
#[derive(Debug)]
pub struct JetStreamAudit {
    queue: mpsc::Sender<AuditRecord>,
    publisher: JoinHandle<()>,
}

impl JetStreamAudit {
    /// Publishes to this subject. It must not begin with `user.` or `org.`, or a tenant could write records too.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new(jetstream: Context, subject: impl Into<String>) -> Self {
        let (queue, records) = mpsc::channel(QUEUE);
        Self { queue, publisher: tokio::spawn(publish(jetstream, subject.into(), records)) }
    }
}

impl AuditSink for JetStreamAudit {
    fn record(&self, record: AuditRecord) {
        if let Err(error) = self.queue.try_send(record) {
            error.into_inner().dropped();
        }
    }
}

impl Drop for JetStreamAudit {
    fn drop(&mut self) {
        self.publisher.abort();
    }
}

async fn publish(jetstream: Context, subject: String, mut records: mpsc::Receiver<AuditRecord>) {
    let mut batch = Vec::with_capacity(BATCH);
    while records.recv_many(&mut batch, BATCH).await > 0 {
        let stored = batch.drain(..).map(|record| {
            let payload = encode(&record).into();
            let (jetstream, subject) = (jetstream.clone(), subject.clone());
            async move { jetstream.publish(subject, payload).await?.await.map(drop) }
        });
        for result in join_all(stored.map(|stored| timeout(PATIENCE, stored))).await {
            match result {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    debug!(%error, "an audit record was lost");
                    audit_dropped();
                }
                Err(_) => audit_dropped(),
            }
        }
    }
}

fn encode(record: &AuditRecord) -> String {
    let since_epoch = record.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    json!({
        "time_ms": u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
        "principal": record.principal,
        "user": record.user,
        "organization": record.organization,
        "peer": record.peer.map(|peer| peer.to_string()),
        "method": record.method.name(),
        "resource": record.resource,
        "code": record.code_name(),
        "duration_us": u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX),
        "bytes_received": record.bytes_received,
        "bytes_sent": record.bytes_sent,
    })
    .to_string()
}
