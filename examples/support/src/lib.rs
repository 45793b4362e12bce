//! Finds, fetches and runs nats-server for development: narun's examples, tests and benches
//! need no server to be installed or started by hand.
//!
//! [`Binary`] is a nats-server that runs here, [`Server`] a private one: on a port of its own on
//! 127.0.0.1, with a store of its own, gone when the value is dropped or the program ends.
//! [`Cluster`] is three of these that work together.
//!
//! ```
//! use narun_support::Server;
//!
//! let mut server = Server::builder().jetstream(true).start()?;
//! let url = server.url().to_owned();
//! server.kill()?;
//! server.restart()?;
//! assert_eq!(server.url(), url);
//! # Ok::<(), narun_support::Error>(())
//! ```
//!
//! | wanted | call |
//! |---|---|
//! | any server narun supports | [`Server::start`] or [`Binary::find`] |
//! | a certain version | [`Binary::version`], then [`ServerBuilder::binary`] |
//! | an older one, such as Debian's 2.9 | the environment variable `NATS_SERVER`, see [`Binary::find`] |
//! | three servers with JetStream, each to be killed and started again | [`Cluster::start`] |
//! | one server for all tests of a binary | a [`Server`] in a `static` [`LazyLock`](std::sync::LazyLock) |
//! | its path, for a script | the program `nats-server-path` |
//!
//! A server never outlives the program that started it, however that ends: a watcher process
//! notices, kills the server and removes its files. So a server in a `static`, which Rust never
//! drops, is cleaned up as well.
//!
//! All calls block, for some 50 ms at the start of a server. Nothing is downloaded at build time.
//! It needs a Unix with `/bin/sh`.

mod binary;
mod cluster;
mod error;
mod release;
mod server;
#[cfg(feature = "testing")]
pub mod testing;
mod wire;

pub use binary::Binary;
pub use cluster::{Cluster, ClusterBuilder};
pub use error::Error;
pub use release::Release;
pub use server::{Server, ServerBuilder};
