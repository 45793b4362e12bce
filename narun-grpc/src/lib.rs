//! NATS for many tenants over gRPC: a tonic service for any Rust program's own server. **It is not there yet**; what is
//! here are the names it will use.
//!
//! The service will be `isa.nats.NATSService`, so that its methods are `/isa.nats.NATSService/<Method>`: publish,
//! subscribe and request, streams and consumers, key-value and object stores. Clients need no NATS library, and see no
//! names but their own: each request is for a user, or for an organization, whose id becomes part of every subject,
//! stream and bucket, in such a way that no id reaches another's (see [`tenant`]).
//!
//! ```
//! use narun_grpc::tenant::Tenant;
//!
//! let (one, other) = (Tenant::user("ann")?, Tenant::organization("ann")?);
//! assert_eq!(one.subject("orders.new")?, "user.ann.orders.new");
//! assert_eq!(other.kv_bucket("orders")?, "kv-org-ann-orders");
//! # Ok::<(), narun_grpc::tenant::TenantError>(())
//! ```
//!
//! gRPC requests of your own services cross NATS through narun-gateway and narun-consumer, once these carry streams;
//! this crate is not needed for that.

pub use narun_core::tenant;

/// The package of the contract.
pub const PACKAGE: &str = "isa.nats";

/// The full name of the service, which its methods' paths begin with.
pub const SERVICE: &str = "isa.nats.NATSService";
