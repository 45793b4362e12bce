//! Limits that a call checks: the NATS server's payload size, and the tenant's quotas in JetStream.

use async_nats::jetstream::stream::Info;
use serde_json::json;
use tonic::{Code, Status};

use crate::call::MethodCall;
use crate::status;
use crate::tenant::Tenant;

impl MethodCall<'_> {
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
        let store = || self.tally.store(bytes as u64, limit);
        let keeps = match store() {
            Some(keeps) => keeps,
            None => {
                // Boxed: it is rare, and would make the future of every publishing call larger.
                self.tally.found_stored(Box::pin(self.stored_bytes()).await?);
                store().unwrap_or(true)
            }
        };
        if keeps { Ok(()) } else { Err(status::over_quota("stored bytes", limit)) }
    }

    /// The number of key-value and object buckets of the tenant.
    pub(crate) async fn count_buckets(&self) -> Result<usize, Status> {
        let mut buckets = 0;
        let tenant = self.tenant();
        self.each_stream(|info| buckets += usize::from(is_bucket(tenant, &info.config.name))).await?;
        Ok(buckets)
    }

    async fn stored_bytes(&self) -> Result<u64, Status> {
        let mut bytes = 0;
        let tenant = self.tenant();
        let counted = self.each_stream(|info| {
            let name = &info.config.name;
            if is_bucket(tenant, name) || tenant.own_stream(name).is_some() {
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

fn is_bucket(tenant: &Tenant, stream: &str) -> bool {
    let kv = stream.strip_prefix("KV_").and_then(|bucket| tenant.own_kv_bucket(bucket));
    kv.or_else(|| tenant.own_object_bucket(stream.strip_prefix("OBJ_")?)).is_some()
}
