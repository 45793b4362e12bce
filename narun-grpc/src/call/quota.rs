//! Limits that a call checks: the NATS server's payload size, and the tenant's quotas in JetStream.

use async_nats::jetstream::stream::Info;
use serde_json::json;
use tonic::{Code, Status};

use crate::call::MethodCall;
use crate::status;
use crate::tenant::Tenant;

/// What JetStream stores with a message besides its subject, headers and payload, in bytes.
const STORED_WITH_MESSAGE: usize = 30;

impl MethodCall<'_> {
    /// As [`check_stored_bytes`](Self::check_stored_bytes), for a message with its NATS subject.
    pub(crate) async fn check_stored_message(&self, subject: &str, size: usize) -> Result<(), Status> {
        self.check_stored_bytes(STORED_WITH_MESSAGE + subject.len() + size).await
    }

    /// Fails if headers and payload of this size are more than the NATS server takes.
    pub(crate) fn check_payload_size(&self, size: usize) -> Result<(), Status> {
        match self.connection().client().max_payload() {
            limit if size > limit => Err(status::too_large(size, limit)),
            _ => Ok(()),
        }
    }

    /// Fails if this many more bytes are over the quota of stored bytes.
    pub(crate) async fn check_stored_bytes(&self, bytes: usize) -> Result<(), Status> {
        let Some(limit) = self.space.quotas.stored_bytes else { return Ok(()) };
        let store = || self.tally.stored.add(bytes as u64, limit);
        let keeps = match store() {
            Some(keeps) => keeps,
            None => {
                // Boxed: it is rare, and would make the future of every publishing call larger.
                self.tally.stored.found(Box::pin(self.stored_bytes()).await?);
                store().unwrap_or(true)
            }
        };
        if keeps { Ok(()) } else { Err(status::over_quota("stored bytes", limit)) }
    }

    /// Fails if the tenant's streams reserve more than they may with this stream, by its NATS name, unless it reserves as
    /// much already.
    pub(crate) async fn check_reserved_bytes(&self, stream: &str, max_bytes: i64) -> Result<(), Status> {
        let (asked, quotas) = (reserved(max_bytes), &self.space.quotas);
        if asked == 0 || (quotas.reserved_bytes.is_none() && quotas.stored_bytes.is_none()) {
            return Ok(());
        }
        let (mut has, mut all_reserved, mut all_stored, tenant) = (0, asked, asked, self.tenant());
        let counted = self.each_stream(|info| {
            let (name, reserves) = (&info.config.name, reserved(info.config.max_bytes));
            if name == stream {
                has = reserves;
            } else if is_own(tenant, name) {
                all_reserved = all_reserved.saturating_add(reserves);
                all_stored = all_stored.saturating_add(reserves.max(info.state.bytes));
            }
        });
        counted.await?;
        let over = |sum, quota: Option<u64>| quota.filter(|limit| asked > has && sum > *limit);
        if let Some(limit) = over(all_reserved, quotas.reserved_bytes) {
            return Err(status::over_quota("reserved bytes", limit));
        }
        match over(all_stored, quotas.stored_bytes) {
            Some(limit) => Err(status::over_quota("stored and reserved bytes", limit)),
            None => Ok(()),
        }
    }

    /// Fails if the tenant may have no bucket more, unless there is one with this stream. The caller is the one that creates.
    pub(crate) async fn check_buckets(&self, stream: &str) -> Result<(), Status> {
        let Some(limit) = self.space.quotas.buckets else { return Ok(()) };
        let add = || self.tally.buckets.add(1, limit as u64);
        let keeps = match add() {
            Some(keeps) => keeps,
            None => {
                self.tally.buckets.found(self.count_buckets().await?);
                add().unwrap_or(true)
            }
        };
        // Another call may just have created it.
        if keeps || self.has_bucket_now(stream).await? {
            return Ok(());
        }
        Err(status::over_quota("buckets", limit))
    }

    /// The number of key-value and object buckets of the tenant.
    async fn count_buckets(&self) -> Result<u64, Status> {
        let mut buckets = 0;
        let tenant = self.tenant();
        self.each_stream(|info| buckets += u64::from(is_bucket(tenant, &info.config.name))).await?;
        Ok(buckets)
    }

    async fn stored_bytes(&self) -> Result<u64, Status> {
        let mut bytes = 0;
        let tenant = self.tenant();
        let counted = self.each_stream(|info| {
            let name = &info.config.name;
            if is_own(tenant, name) {
                bytes += info.state.bytes;
            }
        });
        match counted.await {
            // Without JetStream, or with an old server, nothing is stored.
            Err(status) if matches!(status.code(), Code::Unavailable | Code::FailedPrecondition) => Ok(bytes),
            Err(status) => Err(status),
            Ok(()) => Ok(bytes),
        }
    }

    /// Visits all streams of the account: NATS cannot filter buckets by a prefix of their names.
    async fn each_stream(&self, see: impl FnMut(Info)) -> Result<(), Status> {
        self.connection().list("STREAM.LIST", json!({}), see).await
    }
}

/// The bytes that the NATS server reserves for a stream.
fn reserved(max_bytes: i64) -> u64 {
    u64::try_from(max_bytes).unwrap_or_default()
}

fn is_own(tenant: &Tenant, stream: &str) -> bool {
    is_bucket(tenant, stream) || tenant.own_stream(stream).is_some()
}

fn is_bucket(tenant: &Tenant, stream: &str) -> bool {
    let kv = stream.strip_prefix("KV_").and_then(|bucket| tenant.own_kv_bucket(bucket));
    kv.or_else(|| tenant.own_object_bucket(stream.strip_prefix("OBJ_")?)).is_some()
}
