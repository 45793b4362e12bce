//! The streams and buckets of a namespace, on a real server.

mod bodies;
mod declare;
mod harness;
mod outcomes;
