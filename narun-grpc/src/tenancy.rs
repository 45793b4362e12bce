//! Whose names a call is about: the [`Tenancy`] seam.
//!
//! Each call is for one [`Space`]: a tenant, whose id is part of every name ([`crate::tenant`]), the NATS
//! connection that its names are looked up on, and its quotas. By default all tenants share the service's connection,
//! and a tenant is a user; [`Scope`] makes it an organization, for services that publish and subscribe under different
//! user ids and have to see each other's messages.

use tonic::Status;

use crate::Connection;
use crate::auth::Principal;
use crate::status::OrStatus;
use crate::tenant::Tenant;

/// Finds the space that a call is for.
///
/// With one of its own, a program can give each tenant a NATS account:
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
    /// The space of a call by this principal, who was found to be allowed to name this user and, if the principal is
    /// known to belong to any, this organization. Either may be empty.
    ///
    /// # Errors
    ///
    /// A status, which the client is given.
    async fn space(
        &self,
        principal: &Principal,
        user_id: &str,
        organization_id: &str,
    ) -> Result<Space, Status>;
}

/// Whose names a call is about, where they are, and how much there may be of them.
#[derive(Clone, Debug)]
#[must_use]
pub struct Space {
    pub(crate) tenant: Tenant,
    pub(crate) connection: Connection,
    pub(crate) quotas: Quotas,
}

impl Space {
    /// A tenant on a connection, without quotas.
    pub const fn new(tenant: Tenant, connection: Connection) -> Self {
        Self { tenant, connection, quotas: Quotas::new() }
    }

    /// How much there may be.
    pub const fn quotas(mut self, quotas: Quotas) -> Self {
        self.quotas = quotas;
        self
    }
}

/// What a tenant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Scope {
    /// A user: what another user of the same organization publishes is not seen.
    #[default]
    User,
    /// An organization: requests have to name one, and their principal has to belong to it.
    Organization,
}

/// How much a tenant may have; over it, calls fail with RESOURCE_EXHAUSTED. Default: no limits, but for
/// subscriptions.
///
/// Streams, buckets and consumers are counted when another one is made. Replicas do not wait for each other, so that
/// calls at the same time may go over a quota by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Quotas {
    pub(crate) streams: Option<usize>,
    pub(crate) consumers: Option<usize>,
    pub(crate) buckets: Option<usize>,
    pub(crate) stored_bytes: Option<u64>,
    pub(crate) subscriptions: usize,
}

impl Quotas {
    /// The defaults.
    pub const fn new() -> Self {
        Self { streams: None, consumers: None, buckets: None, stored_bytes: None, subscriptions: 10_000 }
    }

    /// Streams at most.
    pub const fn streams(mut self, streams: usize) -> Self {
        self.streams = Some(streams);
        self
    }

    /// Consumers of each stream at most.
    pub const fn consumers(mut self, consumers: usize) -> Self {
        self.consumers = Some(consumers);
        self
    }

    /// Key-value and object buckets at most.
    pub const fn buckets(mut self, buckets: usize) -> Self {
        self.buckets = Some(buckets);
        self
    }

    /// Bytes at most in all streams and buckets. What there is is looked up when something is published or stored, once
    /// in 5 s; what goes through here meanwhile is added, what goes through other replicas is not seen before.
    pub const fn stored_bytes(mut self, bytes: u64) -> Self {
        self.stored_bytes = Some(bytes);
        self
    }

    /// Live streams of Subscribe, QueueSubscribe, ConsumeMessages and KVWatch at most, at each replica. Default 10,000.
    pub const fn subscriptions(mut self, subscriptions: usize) -> Self {
        self.subscriptions = subscriptions;
        self
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self::new()
    }
}

/// All tenants on one connection.
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
                return Err(Status::permission_denied("organization_id is not the caller's"));
            }
        };
        let tenant = tenant.or_status()?;
        Ok(Space::new(tenant, self.connection.clone()).quotas(self.quotas))
    }
}
