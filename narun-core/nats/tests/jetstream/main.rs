//! What a namespace keeps in JetStream, on a real server.

mod bodies;
mod declare;
mod harness;
mod outcomes;
