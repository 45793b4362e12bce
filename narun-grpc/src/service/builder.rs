use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use http::Extensions;
use tokio::sync::watch;

use super::NatsService;
use crate::audit::{AuditSink, TracingAudit};
use crate::auth::Authenticator;
use crate::metrics::Metrics;
use crate::state::ack_tokens::AckTokens;
use crate::state::recent::Recent;
use crate::state::tally::Tallies;
use crate::state::{PeerOf, QueueLimits, ServiceState};
use crate::tenancy::{Quotas, Scope, SharedAccount, Tenancy};
use crate::{BucketSettings, Connection};

/// What `longest_timeout` is cut off at: clocks end somewhere.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Largest message of gRPC by default, in both directions.
const MESSAGE_LIMIT: usize = 16 << 20;

impl NatsService {
    /// Sets up a service on this client, which stays the caller's: credentials, TLS and reconnecting are its
    /// business. An [`authenticator`](NatsServiceBuilder::authenticator) has to be named before it can be built.
    ///
    /// Do not make the client's `subscription_capacity` smaller than its default: what does not fit there is lost
    /// without a word.
    pub const fn builder(client: Client) -> NatsServiceBuilder<()> {
        NatsServiceBuilder {
            client,
            authenticator: (),
            options: Options {
                domain: None,
                scope: Scope::User,
                quotas: Quotas::new(),
                tenancy: None,
                audit: None,
                peer: None,
                timeout: Duration::from_secs(30),
                longest: Duration::from_secs(300),
                message_limit: MESSAGE_LIMIT,
                allowed_headers: None,
                ack_token_key: None,
                queue: QueueLimits { messages: 4096, bytes: 8 << 20 },
                kv_buckets: BucketSettings::new(),
                object_buckets: BucketSettings::new(),
            },
        }
    }
}

/// A service to be; [`NatsService::builder`] makes one.
#[must_use]
pub struct NatsServiceBuilder<A> {
    client: Client,
    authenticator: A,
    options: Options,
}

/// All that has a default.
struct Options {
    domain: Option<String>,
    scope: Scope,
    quotas: Quotas,
    tenancy: Option<Box<dyn Tenancy>>,
    audit: Option<Box<dyn AuditSink>>,
    peer: Option<PeerOf>,
    timeout: Duration,
    longest: Duration,
    message_limit: usize,
    allowed_headers: Option<HashSet<String>>,
    ack_token_key: Option<Vec<u8>>,
    queue: QueueLimits,
    kv_buckets: BucketSettings,
    object_buckets: BucketSettings,
}

impl<A> NatsServiceBuilder<A> {
    /// Who finds out who is calling. There is no default.
    pub fn authenticator<B: Authenticator>(self, authenticator: B) -> NatsServiceBuilder<B> {
        NatsServiceBuilder { client: self.client, authenticator, options: self.options }
    }

    /// The domain that JetStream is in. Default: that of the server.
    pub fn jetstream_domain(mut self, domain: impl Into<String>) -> Self {
        self.options.domain = Some(domain.into());
        self
    }

    /// What a tenant is. Default: a user.
    pub const fn scope(mut self, scope: Scope) -> Self {
        self.options.scope = scope;
        self
    }

    /// How much each tenant may have. Default [`Quotas::new`].
    pub const fn quotas(mut self, quotas: Quotas) -> Self {
        self.options.quotas = quotas;
        self
    }

    /// Who finds the space of a call; [`scope`](Self::scope) and [`quotas`](Self::quotas) are not looked at then.
    /// Default: all tenants share this connection.
    pub fn tenancy(mut self, tenancy: impl Tenancy) -> Self {
        self.options.tenancy = Some(Box::new(tenancy));
        self
    }

    /// Who takes the record of each call. Default [`TracingAudit`].
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        self.options.audit = Some(Box::new(sink));
        self
    }

    /// How a call's peer address is found in its extensions. Default: as tonic's own server puts it there, with the
    /// feature `transport`; without, none.
    pub fn peer(mut self, peer: impl Fn(&Extensions) -> Option<SocketAddr> + Send + Sync + 'static) -> Self {
        self.options.peer = Some(Box::new(peer));
        self
    }

    /// How long a call may take whose client sets no deadline, beside what it asks to wait for. Default 30 s. It
    /// does not end streams, once open. A call begins here when its request has come: for clients that never finish
    /// theirs, set a timeout at the server.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// How long a call may take at most, whatever deadline its client sets. Default 5 minutes. It does not end
    /// streams.
    pub const fn longest_timeout(mut self, timeout: Duration) -> Self {
        self.options.longest = timeout;
        self
    }

    /// The largest message of gRPC in bytes, in both directions. Default 16 MiB.
    pub const fn message_limit(mut self, bytes: usize) -> Self {
        self.options.message_limit = bytes;
        self
    }

    /// The headers beginning with `Nats-` or `KV-` that clients may set; all others are refused. Upper and lower case
    /// are one. Default: `Nats-Msg-Id`.
    pub fn allowed_headers(mut self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let names = names.into_iter().map(|name| name.as_ref().to_ascii_lowercase());
        self.options.allowed_headers = Some(names.collect());
        self
    }

    /// The secret that acknowledgement tokens are made with. Replicas that have the same one take each other's tokens;
    /// those that have not still acknowledge by sequence, for consumers where each message has to be acknowledged.
    /// Default: a random one.
    pub fn ack_token_key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.options.ack_token_key = Some(key.into());
        self
    }

    /// How much waits at most for a subscriber that reads slowly, before its stream ends with RESOURCE_EXHAUSTED.
    /// Default 4,096 messages and 8 MiB. No more either is taken at a time of what ConsumeMessages and KVWatch give, but
    /// for one message that is larger.
    pub const fn subscriber_queue(mut self, messages: usize, bytes: usize) -> Self {
        self.options.queue = QueueLimits { messages, bytes };
        self
    }

    /// How key-value buckets are made. Default: one value of each key, kept for ever on one server's disk.
    pub const fn kv_buckets(mut self, settings: BucketSettings) -> Self {
        self.options.kv_buckets = settings;
        self
    }

    /// How object buckets are made. Default: kept for ever on one server's disk.
    pub const fn object_buckets(mut self, settings: BucketSettings) -> Self {
        self.options.object_buckets = settings;
        self
    }
}

impl<A: Authenticator> NatsServiceBuilder<A> {
    /// The service. Has to be called within a tokio runtime.
    #[must_use]
    pub fn build(self) -> NatsService {
        let Self { client, authenticator, options } = self;
        let connection = match options.domain {
            Some(domain) => Connection::with_domain(client, domain),
            None => Connection::new(client),
        };
        let (scope, quotas) = (options.scope, options.quotas);
        let shared =
            || Box::new(SharedAccount { connection: connection.clone(), scope, quotas }) as Box<dyn Tenancy>;
        NatsService(Arc::new(ServiceState {
            tenancy: options.tenancy.unwrap_or_else(shared),
            connection,
            authenticator: Box::new(authenticator),
            audit: options.audit.unwrap_or_else(|| Box::new(TracingAudit)),
            peer: options.peer.or_else(default_peer),
            metrics: Metrics::new(),
            tallies: Tallies::default(),
            timeout: options.timeout,
            longest: options.longest.min(FAR),
            message_limit: options.message_limit,
            allowed_headers: options.allowed_headers.unwrap_or_else(|| ["nats-msg-id".to_owned()].into()),
            queue: options.queue,
            kv_buckets: options.kv_buckets,
            object_buckets: options.object_buckets,
            tokens: AckTokens::new(options.ack_token_key),
            recent: Recent::default(),
            stopping: watch::Sender::new(false),
        }))
    }
}

impl<A> fmt::Debug for NatsServiceBuilder<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsServiceBuilder")
            .field("scope", &self.options.scope)
            .field("quotas", &self.options.quotas)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "transport")]
fn default_peer() -> Option<PeerOf> {
    use tonic::transport::server::TcpConnectInfo;

    Some(Box::new(|extensions| {
        let plain = extensions.get::<TcpConnectInfo>();
        #[cfg(feature = "mtls")]
        let plain = {
            use tonic::transport::server::TlsConnectInfo;
            plain.or_else(|| extensions.get::<TlsConnectInfo<TcpConnectInfo>>().map(TlsConnectInfo::get_ref))
        };
        plain.and_then(TcpConnectInfo::remote_addr)
    }))
}

#[cfg(not(feature = "transport"))]
fn default_peer() -> Option<PeerOf> {
    None
}
