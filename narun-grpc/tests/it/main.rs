//! The service on a real nats-server, through a real channel.

mod harness;

mod calls;
mod consumers;
mod health;
mod publish;
mod request;
mod streams;
mod subscribe;
mod who;
