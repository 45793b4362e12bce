/// A variable of [`Settings`](crate::Settings).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variable {
    /// The name of the environment variable.
    pub name: &'static str,
    /// A name for a flag of a program, without dashes at the beginning.
    pub flag: &'static str,
    /// What it sets, with its default.
    pub help: &'static str,
}

const fn variable(name: &'static str, flag: &'static str, help: &'static str) -> Variable {
    Variable { name, flag, help }
}

/// All variables of [`Settings`](crate::Settings).
pub const VARIABLES: &[Variable] = &[
    variable("NATS_URLS", "nats-urls", "NATS servers, separated by commas [default: nats://127.0.0.1:4222]"),
    variable("NATS_USERNAME", "nats-username", "User of the NATS connection"),
    variable("NATS_PASSWORD", "nats-password", "Password of the NATS connection"),
    variable("NATS_TOKEN", "nats-token", "Token of the NATS connection"),
    variable("NATS_CREDS", "nats-creds", "File with credentials of the NATS connection"),
    variable("NATS_NKEY", "nats-nkey", "Seed of an nkey of the NATS connection"),
    variable("NATS_TLS_CA", "nats-tls-ca", "File with the certificate authorities of the NATS servers"),
    variable("NATS_TLS_CERT", "nats-tls-cert", "File with a certificate for the NATS servers"),
    variable("NATS_TLS_KEY", "nats-tls-key", "File with the key of the certificate"),
    variable(
        "NATS_JETSTREAM_ENABLED",
        "nats-jetstream-enabled",
        "Whether the server needs JetStream to be ready [default: true]",
    ),
    variable(
        "NATS_JETSTREAM_DOMAIN",
        "nats-jetstream-domain",
        "JetStream domain [default: of the NATS server]",
    ),
    variable("LOKI_URL", "loki-url", "Where a layer of tracing sends audit records"),
    variable("CONSUL_ENABLED", "consul-enabled", "Whether to register with Consul [default: false]"),
    variable("CONSUL_HOST", "consul-host", "Host of the Consul agent [default: 127.0.0.1]"),
    variable("CONSUL_PORT", "consul-port", "Port of the Consul agent [default: 8500]"),
    #[cfg(feature = "consul")]
    variable("CONSUL_HTTP_TOKEN", "consul-http-token", "Token for the Consul agent"),
    variable("GRPC_PORT", "grpc-port", "Port to listen on [default: 50056]"),
    variable("SERVICE_NAME", "service-name", "Name to register [default: nats-grpc-service]"),
    variable("SERVICE_HOSTNAME", "service-hostname", "Where clients reach this server [default: localhost]"),
    variable("GRPC_SCOPE", "scope", "What a tenant is: user or organization [default: user]"),
    variable(
        "GRPC_TIMEOUT_SECONDS",
        "timeout-seconds",
        "Time limit of calls without a deadline [default: 30]",
    ),
    variable(
        "GRPC_LONGEST_TIMEOUT_SECONDS",
        "longest-timeout-seconds",
        "Longest time limit of calls [default: 300]",
    ),
    variable("GRPC_MESSAGE_LIMIT", "message-limit", "Bytes of a request's message [default: 16777216]"),
    variable("GRPC_RESPONSE_LIMIT", "response-limit", "Bytes of a response's message [default: 4128768]"),
    #[cfg(feature = "gzip")]
    variable(
        "GRPC_COMPRESS_RESPONSES",
        "compress-responses",
        "Whether to compress responses [default: false]",
    ),
    variable("GRPC_QUEUE_MESSAGES", "queue-messages", "Messages that wait for a subscriber [default: 4096]"),
    variable("GRPC_QUEUE_BYTES", "queue-bytes", "Bytes that wait for a subscriber [default: 8388608]"),
    variable(
        "GRPC_SUBSCRIBER_MEMORY",
        "subscriber-memory",
        "Bytes that wait for all subscribers [default: 268435456]",
    ),
    variable(
        "GRPC_SUBSCRIBER_MEMORY_PER_TENANT",
        "subscriber-memory-per-tenant",
        "Bytes that wait for the subscribers of a tenant [default: 67108864]",
    ),
    variable(
        "GRPC_REQUEST_MEMORY",
        "request-memory",
        "Bytes of all requests on their way [default: 268435456]",
    ),
    variable(
        "GRPC_REQUEST_MEMORY_PER_CONNECTION",
        "request-memory-per-connection",
        "Bytes of requests on their way on a connection [default: 67108864]",
    ),
    variable(
        "GRPC_ACK_TOKEN_KEY",
        "ack-token-key",
        "Secret of all replicas, of 32 bytes or more, for ack tokens and Unsubscribe [default: random]",
    ),
    variable("GRPC_QUOTA_STREAMS", "quota-streams", "Streams of a tenant, or unlimited [default: 1000]"),
    variable(
        "GRPC_QUOTA_CONSUMERS",
        "quota-consumers",
        "Consumers of a stream, or unlimited [default: 1000]",
    ),
    variable("GRPC_QUOTA_BUCKETS", "quota-buckets", "Buckets of a tenant, or unlimited [default: 1000]"),
    variable(
        "GRPC_QUOTA_STORED_BYTES",
        "quota-stored-bytes",
        "Bytes in all streams and buckets of a tenant, or unlimited [default: unlimited]",
    ),
    variable(
        "GRPC_QUOTA_RESERVED_BYTES",
        "quota-reserved-bytes",
        "Bytes that all streams of a tenant reserve with max_bytes, or unlimited [default: 17179869184]",
    ),
    variable(
        "GRPC_QUOTA_SUBSCRIPTIONS",
        "quota-subscriptions",
        "Live subscriptions of a tenant, or unlimited [default: 10000]",
    ),
    variable("GRPC_KV_HISTORY", "kv-history", "Values kept of a key, 1 to 64 [default: 1]"),
    variable("GRPC_KV_MAX_AGE_SECONDS", "kv-max-age-seconds", "Age at which values expire [default: never]"),
    variable("GRPC_KV_STORAGE", "kv-storage", "Storage of key-value buckets: file or memory [default: file]"),
    variable("GRPC_KV_REPLICAS", "kv-replicas", "Replicas of key-value buckets, 1 to 5 [default: 1]"),
    variable(
        "GRPC_OBJECT_MAX_AGE_SECONDS",
        "object-max-age-seconds",
        "Age at which objects expire [default: never]",
    ),
    variable(
        "GRPC_OBJECT_STORAGE",
        "object-storage",
        "Storage of object buckets: file or memory [default: file]",
    ),
    variable("GRPC_OBJECT_REPLICAS", "object-replicas", "Replicas of object buckets, 1 to 5 [default: 1]"),
];

impl Variable {
    /// Whether its value is a secret, which must not be shown.
    pub fn is_secret(&self) -> bool {
        let secrets = [
            "NATS_URLS",
            "NATS_PASSWORD",
            "NATS_TOKEN",
            "NATS_NKEY",
            "CONSUL_HTTP_TOKEN",
            "GRPC_ACK_TOKEN_KEY",
        ];
        secrets.contains(&self.name)
    }
}
