//! Finding the tenant of a call: the [`Tenancy`] trait.
//!
//! Each call is for one [`Space`]: a tenant, whose id is part of every name (see [`crate::tenant`]), the NATS connection
//! to use, and the tenant's quotas. By default all tenants share the service's connection, and a tenant is a user. With
//! [`Scope::Organization`] a tenant is an organization, for services that publish and subscribe under different user ids
//! and need to see each other's messages.

use tonic::Status;

use crate::Connection;
use crate::auth::Principal;
use crate::status::OrStatus;
use crate::tenant::Tenant;

/// Finds the [`Space`] of a call.
///
/// With its own implementation, a program can give each tenant a NATS account:
///
/// ```
/// use std::collections::HashMap;
/// use narun_grpc::Connection;
/// use narun_grpc::auth::Principal;
/// use narun_grpc::tenancy::{Space, Tenancy};
/// use narun_grpc::tenant::Tenant;
/// use tonic::Status;
///
/// struct Accounts(HashMap<String, Connection>);
///
/// #[tonic::async_trait]
/// impl Tenancy for Accounts {
///     async fn space(&self, _: &Principal, _user_id: &str, organization_id: &str) -> Result<Space, Status> {
///         let account = self.0.get(organization_id).ok_or_else(|| Status::permission_denied("no account"))?;
///         let tenant = Tenant::organization(organization_id).map_err(|error| Status::invalid_argument(error.to_string()))?;
///         Ok(Space::new(tenant, account.clone()))
///     }
/// }
/// ```
#[tonic::async_trait]
pub trait Tenancy: Send + Sync + 'static {
    /// Returns the space of a call.
    ///
    /// The principal may act for this user and, if its organizations are known, for this organization. Either id may be
    /// empty.
    ///
    /// # Errors
    ///
    /// The status that the client receives.
    async fn space(
        &self,
        principal: &Principal,
        user_id: &str,
        organization_id: &str,
    ) -> Result<Space, Status>;
}

/// A tenant, its connection and its quotas.
#[derive(Clone, Debug)]
#[must_use]
pub struct Space {
    pub(crate) tenant: Tenant,
    pub(crate) connection: Connection,
    pub(crate) quotas: Quotas,
}

impl Space {
    /// A tenant on a connection, with the default quotas.
    pub const fn new(tenant: Tenant, connection: Connection) -> Self {
        Self { tenant, connection, quotas: Quotas::new() }
    }

    /// Sets the quotas.
    pub const fn quotas(mut self, quotas: Quotas) -> Self {
        self.quotas = quotas;
        self
    }
}

/// The default limit of streams, of consumers and of buckets.
const COUNT: usize = 1000;

/// What a tenant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Scope {
    /// A user. Users of the same organization do not see each other's messages.
    #[default]
    User,
    /// An organization. Requests must name one, and the principal must belong to it.
    Organization,
}

/// Limits of a tenant. A call over one fails with RESOURCE_EXHAUSTED. The largest number means no limit.
///
/// Streams, consumers and buckets are counted when one is created, one call of a tenant after the other. Replicas do not
/// coordinate, so concurrent calls can exceed a quota by the number of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Quotas {
    pub(crate) streams: Option<usize>,
    pub(crate) consumers: Option<usize>,
    pub(crate) buckets: Option<usize>,
    pub(crate) stored_bytes: Option<u64>,
    pub(crate) reserved_bytes: Option<u64>,
    pub(crate) subscriptions: usize,
}

impl Quotas {
    /// Returns the defaults.
    pub const fn new() -> Self {
        let (streams, consumers, buckets) = (Some(COUNT), Some(COUNT), Some(COUNT));
        let reserved_bytes = Some(16 << 30);
        Self { streams, consumers, buckets, stored_bytes: None, reserved_bytes, subscriptions: 10_000 }
    }

    /// Limits the streams. Default: 1,000.
    pub const fn streams(mut self, streams: usize) -> Self {
        self.streams = limit(streams);
        self
    }

    /// Limits the consumers of each stream. Default: 1,000.
    pub const fn consumers(mut self, consumers: usize) -> Self {
        self.consumers = limit(consumers);
        self
    }

    /// Limits key-value and object buckets, counted together. Default: 1,000.
    ///
    /// A call that creates one looks them up, at most every 5 s. Those created through this replica in between are added;
    /// those created or deleted elsewhere count from the next look-up on.
    pub const fn buckets(mut self, buckets: usize) -> Self {
        self.buckets = limit(buckets);
        self
    }

    /// Limits the bytes in all streams and buckets together. Default: no limit, as it needs a look-up.
    ///
    /// A call that publishes or stores looks them up, at most every 5 s. Bytes stored through this replica in between are
    /// added; those stored elsewhere count from the next look-up on.
    ///
    /// When a stream is created or changed, each stream counts with its `max_bytes` if that is more than it stores.
    pub const fn stored_bytes(mut self, bytes: u64) -> Self {
        self.stored_bytes = limit_bytes(bytes);
        self
    }

    /// Limits the sum of the `max_bytes` of all streams, which the NATS server reserves. Default: 16 GiB.
    ///
    /// It is checked when a stream is created with `max_bytes`, or gets more.
    pub const fn reserved_bytes(mut self, bytes: u64) -> Self {
        self.reserved_bytes = limit_bytes(bytes);
        self
    }

    /// Limits live subscriptions (Subscribe, QueueSubscribe, ConsumeMessages, KVWatch) and Requests that wait for a reply,
    /// together at each replica. Default: 10,000.
    pub const fn subscriptions(mut self, subscriptions: usize) -> Self {
        self.subscriptions = subscriptions;
        self
    }
}

const fn limit(count: usize) -> Option<usize> {
    if count == usize::MAX { None } else { Some(count) }
}

const fn limit_bytes(bytes: u64) -> Option<u64> {
    if bytes == u64::MAX { None } else { Some(bytes) }
}

impl Default for Quotas {
    fn default() -> Self {
        Self::new()
    }
}

/// The default: all tenants share one connection.
#[derive(Debug)]
pub(crate) struct SharedAccount {
    pub(crate) connection: Connection,
    pub(crate) scope: Scope,
    pub(crate) quotas: Quotas,
}

#[tonic::async_trait]
impl Tenancy for SharedAccount {
    async fn space(
        &self,
        principal: &Principal,
        user_id: &str,
        organization_id: &str,
    ) -> Result<Space, Status> {
        let tenant = match self.scope {
            Scope::User => Tenant::user(user_id),
            Scope::Organization if organization_id.is_empty() || principal.belongs_to(organization_id) => {
                Tenant::organization(organization_id)
            }
            Scope::Organization => {
                return Err(Status::permission_denied("the caller may not act for organization_id"));
            }
        };
        let tenant = tenant.or_status()?;
        Ok(Space::new(tenant, self.connection.clone()).quotas(self.quotas))
    }
}
