//! Tenants' ids and names, mapped injectively into NATS names.
