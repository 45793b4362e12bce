//! The driver and what a namespace has in JetStream, on a real server.

mod bodies;
mod declare;
mod harness;
mod outcomes;
mod publishing;
mod secret;
