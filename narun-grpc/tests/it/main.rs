//! The service on a real nats-server, through a real channel.

mod harness;

mod audit;
mod auth;
mod bounded;
mod buckets;
mod calls;
mod cluster;
mod consume;
mod consumers;
mod events;
mod every;
mod expiry;
mod health;
mod hostile;
mod isolation;
mod jwt;
mod kv;
mod kv_expected;
mod kv_watch;
mod leaving;
mod messages;
mod mtls;
mod objects;
mod publish;
mod quotas;
mod reflection;
mod registrar;
mod request;
mod restarts;
mod sizes;
mod statistics;
mod streams;
mod subscribe;
mod versions;
