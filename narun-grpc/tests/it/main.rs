//! The service on a real nats-server, through a real channel.

mod harness;

mod audit;
mod auth;
mod buckets;
mod calls;
mod cluster;
mod consume;
mod consumers;
mod domain;
mod events;
mod every;
mod health;
mod hostile;
mod isolation;
mod jwt;
mod kv;
mod kv_expected;
mod kv_watch;
mod leaving;
mod lost;
mod messages;
mod mtls;
mod objects;
mod objects_of_others;
mod publish;
mod pulls;
mod reflection;
mod registrar;
mod request;
mod restarts;
mod statistics;
mod streams;
mod subscribe;
mod versions;
