//! What a tenant has in JetStream, as far as there is a quota of it.

use async_nats::jetstream::stream::Info;
use serde_json::json;
use tonic::{Code, Status};

use crate::call::MethodCall;
use crate::status;
use crate::tenant::Tenant;

impl MethodCall<'_> {
    /// Whether the NATS server takes this many bytes of headers and payload.
    pub(crate) fn fits(&self, size: usize) -> Result<(), Status> {
        match self.connection().client().max_payload() {
            limit if size > limit => Err(status::too_large(size, limit)),
            _ => Ok(()),
        }
    }

    /// Whether the tenant may store as many bytes more.
    pub(crate) async fn room_for(&self, bytes: usize) -> Result<(), Status> {
        let Some(limit) = self.space.quotas.stored_bytes else { return Ok(()) };
        let store = || self.tally.store(bytes as u64, limit);
        let keeps = match store() {
            Some(keeps) => keeps,
            None => {
                // Boxed, as it is rare, and would make every call that publishes larger.
                self.tally.found_stored(Box::pin(self.stored_bytes()).await?);
                store().unwrap_or(true)
            }
        };
        if keeps { Ok(()) } else { Err(status::over_quota("stored bytes", limit)) }
    }

    /// How many key-value and object buckets the tenant has.
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
            // Without JetStream, or with an old one, nothing is stored.
            Err(status) if matches!(status.code(), Code::Unavailable | Code::FailedPrecondition) => Ok(bytes),
            Err(status) => Err(status),
            Ok(()) => Ok(bytes),
        }
    }

    /// All streams of the account: NATS cannot look for buckets by what their names begin with.
    async fn each_stream(&self, see: impl FnMut(Info)) -> Result<(), Status> {
        self.connection().list("STREAM.LIST", json!({}), see).await
    }
}

fn is_bucket(tenant: &Tenant, stream: &str) -> bool {
    let kv = stream.strip_prefix("KV_").and_then(|bucket| tenant.own_kv_bucket(bucket));
    kv.or_else(|| tenant.own_object_bucket(stream.strip_prefix("OBJ_")?)).is_some()
}
