mod settings;

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use http::Extensions;
use tokio::sync::watch;
use tracing::warn;

use super::NatsService;
use crate::audit::{AuditSink, TracingAudit};
use crate::auth::Authenticator;
use crate::connection::ControlKey;
use crate::metrics::Metrics;
use crate::state::ack_tokens::AckTokens;
use crate::state::memory::{RequestMemory, WaitingBytes};
use crate::state::recent::RecentDeliveries;
use crate::state::tally::Tallies;
use crate::state::{FindPeer, QueueLimits, ServiceState};
use crate::tenancy::{Quotas, Scope, SharedAccount, Tenancy};
use crate::{BucketSettings, Connection};

/// The upper limit of `longest_timeout`: instants have a range.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The default limit of a request's message.
const MESSAGE_LIMIT: usize = 16 << 20;

/// The default limit of a response's message: clients take 4 MiB by default.
const RESPONSE_LIMIT: usize = (4 << 20) - (64 << 10);

impl NatsService {
    /// Configures a service on this client. Credentials, TLS and reconnecting are the client's own. An
    /// [`authenticator`](NatsServiceBuilder::authenticator) must be set before the service can be built.
    ///
    /// Do not make the client's `subscription_capacity` smaller than its default: messages that do not fit are lost
    /// silently.
    pub fn builder(client: impl Into<Client>) -> NatsServiceBuilder<()> {
        NatsServiceBuilder {
            client: client.into(),
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
                response_limit: RESPONSE_LIMIT,
                #[cfg(feature = "gzip")]
                compress_responses: false,
                allowed_headers: None,
                ack_token_key: None,
                queue: QueueLimits { messages: 4096, bytes: 8 << 20, tenant: 64 << 20, all: 256 << 20 },
                request_memory: (256 << 20, 64 << 20),
                kv_buckets: BucketSettings::new(),
                object_buckets: BucketSettings::new(),
            },
        }
    }
}

/// Configures a [`NatsService`]; made by [`NatsService::builder`].
#[must_use]
pub struct NatsServiceBuilder<A> {
    client: Client,
    authenticator: A,
    options: Options,
}

/// The settings that have a default.
struct Options {
    domain: Option<String>,
    scope: Scope,
    quotas: Quotas,
    tenancy: Option<Box<dyn Tenancy>>,
    audit: Option<Box<dyn AuditSink>>,
    peer: Option<FindPeer>,
    timeout: Duration,
    longest: Duration,
    message_limit: usize,
    response_limit: usize,
    #[cfg(feature = "gzip")]
    compress_responses: bool,
    allowed_headers: Option<HashSet<String>>,
    ack_token_key: Option<Vec<u8>>,
    queue: QueueLimits,
    request_memory: (usize, usize),
    kv_buckets: BucketSettings,
    object_buckets: BucketSettings,
}

impl<A> NatsServiceBuilder<A> {
    /// Sets what authenticates callers. There is no default.
    pub fn authenticator<B: Authenticator>(self, authenticator: B) -> NatsServiceBuilder<B> {
        NatsServiceBuilder { client: self.client, authenticator, options: self.options }
    }

    /// Sets the JetStream domain. Default: the domain of the server.
    pub fn jetstream_domain(mut self, domain: impl Into<String>) -> Self {
        self.options.domain = Some(domain.into());
        self
    }

    /// Sets what a tenant is. Default: a user.
    pub const fn scope(mut self, scope: Scope) -> Self {
        self.options.scope = scope;
        self
    }

    /// Sets the quotas of each tenant. Default: [`Quotas::new`].
    pub const fn quotas(mut self, quotas: Quotas) -> Self {
        self.options.quotas = quotas;
        self
    }

    /// Sets what finds the tenant of a call; [`scope`](Self::scope) and [`quotas`](Self::quotas) are ignored then.
    /// Default: all tenants share this connection.
    pub fn tenancy(mut self, tenancy: impl Tenancy) -> Self {
        self.options.tenancy = Some(Box::new(tenancy));
        self
    }

    /// Sets where the audit record of each call goes. Default: [`TracingAudit`].
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        self.options.audit = Some(Box::new(sink));
        self
    }

    /// Sets how a call's peer address is found in its extensions. Default: as tonic's own server sets it, with the
    /// feature `transport`; without that feature, no address.
    pub fn peer(mut self, peer: impl Fn(&Extensions) -> Option<SocketAddr> + Send + Sync + 'static) -> Self {
        self.options.peer = Some(Box::new(peer));
        self
    }

    /// Sets the time limit of a call whose client sets no deadline, on top of what the request asks to wait. Default:
    /// 30 s.
    ///
    /// It does not end an open response stream. It counts from the end of the request, which must arrive within the
    /// client's deadline, or else within [`longest_timeout`](Self::longest_timeout).
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// Sets the longest time limit of a call, whatever deadline its client sets. Default: 5 minutes. It does not end an
    /// open response stream.
    pub const fn longest_timeout(mut self, timeout: Duration) -> Self {
        self.options.longest = timeout;
        self
    }

    /// Sets the limit of a message of a request in bytes. Default: 16 MiB. A larger one is RESOURCE_EXHAUSTED.
    pub const fn message_limit(mut self, bytes: usize) -> Self {
        self.options.message_limit = bytes;
        self
    }

    /// Sets the limit of a message of a response in bytes. Default: 4 MiB less 64 KiB, as clients take 4 MiB unless they
    /// are configured otherwise.
    ///
    /// PullMessages returns fewer messages then, and leaves the others in the stream. A larger object is
    /// FAILED_PRECONDITION, as ObjectDownload has no such limit. Any other larger response is RESOURCE_EXHAUSTED.
    pub const fn response_limit(mut self, bytes: usize) -> Self {
        self.options.response_limit = bytes;
        self
    }

    /// Sets whether responses are compressed for clients that accept that. Default: false.
    ///
    /// Compression of large responses takes many times longer than sending them, and the calls of other clients wait in
    /// the meantime: only for responses of text over slow networks.
    #[cfg(feature = "gzip")]
    pub const fn compress_responses(mut self, compress: bool) -> Self {
        self.options.compress_responses = compress;
        self
    }

    /// Sets which headers that begin with `Nats-` or `KV-` clients may set; all others are refused. Case is ignored.
    /// Default: `Nats-Msg-Id`.
    pub fn allowed_headers(mut self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let names = names.into_iter().map(|name| name.as_ref().to_ascii_lowercase());
        self.options.allowed_headers = Some(names.collect());
        self
    }

    /// Sets the secret that acknowledgement tokens and messages between replicas are signed with. Default: a random one,
    /// with a warning.
    ///
    /// Replicas with the same secret accept each other's tokens, and an Unsubscribe ends subscriptions at all of them.
    /// Without, it ends those of its own replica only, and messages of another replica can still be acknowledged by
    /// sequence, on consumers with explicit acknowledgements. The clocks of the replicas must not differ by more than
    /// 30 s.
    pub fn ack_token_key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.options.ack_token_key = Some(key.into());
        self
    }

    /// Sets how much is queued for a subscriber that reads slowly, before its subscription ends with RESOURCE_EXHAUSTED.
    /// Default: 4,096 messages and 8 MiB. A message counts with its memory: some 200 bytes more than its size, and some
    /// 300 for each header.
    ///
    /// ConsumeMessages and KVWatch pull no more than this at a time either, except for a single message that is larger.
    pub const fn subscriber_queue(mut self, messages: usize, bytes: usize) -> Self {
        self.options.queue.messages = messages;
        self.options.queue.bytes = bytes;
        self
    }

    /// Sets how many bytes may wait for all subscribers that read slowly, and for those of a tenant. Beyond, a subscription
    /// ends with RESOURCE_EXHAUSTED once more than 64 KiB wait for it. Default: 256 MiB, and 64 MiB of a tenant.
    pub const fn subscriber_memory(mut self, all: usize, tenant: usize) -> Self {
        self.options.queue.all = all;
        self.options.queue.tenant = tenant;
        self
    }

    /// Sets how many bytes of requests may be on their way at the same time: in the process, and on a connection if the
    /// [`peer`](Self::peer) is known. A request beyond is RESOURCE_EXHAUSTED. Default: 256 MiB, and 64 MiB of a connection.
    ///
    /// A message counts until its request ends; that of an upload only until it is complete. A compressed one counts as what
    /// it may become, once it is complete: 1,032 times its size, or the [`message_limit`](Self::message_limit). Messages of
    /// up to 16 KiB do not count, as the server limits connections and streams.
    pub const fn request_memory(mut self, all: usize, connection: usize) -> Self {
        self.options.request_memory = (all, connection);
        self
    }

    /// Sets how key-value buckets are created. Default: one value of each key, without expiry, on one server's disk.
    pub const fn kv_buckets(mut self, settings: BucketSettings) -> Self {
        self.options.kv_buckets = settings;
        self
    }

    /// Sets how object buckets are created. Default: without expiry, on one server's disk.
    pub const fn object_buckets(mut self, settings: BucketSettings) -> Self {
        self.options.object_buckets = settings;
        self
    }
}

impl<A: Authenticator> NatsServiceBuilder<A> {
    /// Builds the service. Must be called within a tokio runtime.
    #[must_use]
    pub fn build(self) -> NatsService {
        let Self { client, authenticator, options } = self;
        let connection = match options.domain {
            Some(domain) => Connection::with_domain(client, domain),
            None => Connection::new(client),
        };
        let key = options.ack_token_key.unwrap_or_else(|| {
            warn!("no ack_token_key: acknowledgement tokens and Unsubscribe work within this replica only");
            rand::random::<[u8; 32]>().into()
        });
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
            response_limit: options.response_limit,
            #[cfg(feature = "gzip")]
            compress_responses: options.compress_responses,
            allowed_headers: options.allowed_headers.unwrap_or_else(|| ["nats-msg-id".to_owned()].into()),
            queue: options.queue,
            request_memory: Arc::new(RequestMemory::new(options.request_memory.0, options.request_memory.1)),
            waiting: WaitingBytes::default(),
            kv_buckets: options.kv_buckets,
            object_buckets: options.object_buckets,
            tokens: AckTokens::new(&key),
            control: ControlKey::new(&key),
            recent: RecentDeliveries::default(),
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
fn default_peer() -> Option<FindPeer> {
    use tonic::transport::server::TcpConnectInfo;

    Some(Box::new(|extensions| {
        let plain = extensions.get::<TcpConnectInfo>();
        #[cfg(feature = "mtls")]
        let plain = {
            use crate::auth::TlsConnectInfo;
            plain.or_else(|| extensions.get::<TlsConnectInfo>().map(TlsConnectInfo::get_ref))
        };
        plain.and_then(TcpConnectInfo::remote_addr)
    }))
}

#[cfg(not(feature = "transport"))]
fn default_peer() -> Option<FindPeer> {
    None
}
