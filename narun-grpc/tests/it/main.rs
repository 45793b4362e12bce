//! The service on a real nats-server, through a real channel.

mod harness;

mod calls;
mod health;
mod publish;
mod request;
mod subscribe;
mod who;
