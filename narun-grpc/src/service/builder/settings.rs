use super::NatsServiceBuilder;
use crate::settings::BucketVariables;
use crate::{BucketSettings, Settings};

impl<A> NatsServiceBuilder<A> {
    /// Sets what these settings have: JetStream domain, scope, time limits, limits of messages and memory, compression,
    /// quotas, buckets and the secret of replicas. What they leave out stays as it is.
    pub fn settings(mut self, settings: &Settings) -> Self {
        let (options, service) = (&mut self.options, &settings.service);
        set(&mut options.scope, service.scope);
        set(&mut options.timeout, service.timeout);
        set(&mut options.longest, service.longest_timeout);
        set(&mut options.message_limit, service.message_limit);
        set(&mut options.response_limit, service.response_limit);
        #[cfg(feature = "gzip")]
        set(&mut options.compress_responses, service.compress_responses);
        set(&mut options.queue.messages, service.queue_messages);
        set(&mut options.queue.bytes, service.queue_bytes);
        set(&mut options.queue.all, service.subscriber_memory);
        set(&mut options.queue.tenant, service.subscriber_memory_per_tenant);
        set(&mut options.request_memory.0, service.request_memory);
        set(&mut options.request_memory.1, service.request_memory_per_connection);
        let quotas = options.quotas;
        let quotas = service.quota_streams.map_or(quotas, |streams| quotas.streams(streams));
        let quotas = service.quota_consumers.map_or(quotas, |consumers| quotas.consumers(consumers));
        let quotas = service.quota_buckets.map_or(quotas, |buckets| quotas.buckets(buckets));
        let quotas = service.quota_stored_bytes.map_or(quotas, |bytes| quotas.stored_bytes(bytes));
        let quotas = service.quota_reserved_bytes.map_or(quotas, |bytes| quotas.reserved_bytes(bytes));
        options.quotas = service.quota_subscriptions.map_or(quotas, |count| quotas.subscriptions(count));
        options.kv_buckets = buckets(options.kv_buckets, &service.kv);
        if let Some(history) = service.kv_history {
            options.kv_buckets = options.kv_buckets.history(history);
        }
        options.object_buckets = buckets(options.object_buckets, &service.objects);
        if let Some(key) = &service.ack_token_key {
            options.ack_token_key = Some(key.clone().into());
        }
        if let Some(domain) = &settings.jetstream_domain {
            options.domain = Some(domain.clone());
        }
        self
    }
}

fn set<T>(option: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *option = value;
    }
}

fn buckets(settings: BucketSettings, variables: &BucketVariables) -> BucketSettings {
    let settings = variables.max_age.map_or(settings, |age| settings.max_age(age));
    let settings = variables.memory.map_or(settings, |memory| settings.memory(memory));
    variables.replicas.map_or(settings, |replicas| settings.replicas(replicas))
}
