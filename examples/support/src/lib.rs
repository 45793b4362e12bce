//! Finds, fetches and runs nats-server for development, so that narun's examples, tests and benches
//! need no server that is installed or started by hand.
//!
//! [`Binary`] is a nats-server program. [`Server`] is a running one, with its own port on 127.0.0.1
//! and its own store, which ends when the value is dropped or the program ends. [`Cluster`] is
//! three servers with JetStream in one cluster.
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
//! | to get | call |
//! |---|---|
//! | any server narun supports | [`Server::start`] or [`Binary::find`] |
//! | a specific version | [`Binary::version`], then [`ServerBuilder::binary`] |
//! | an older version, such as Debian's 2.9 | the environment variable `NATS_SERVER`, see [`Binary::find`] |
//! | three servers with JetStream, which can be killed and restarted | [`Cluster::start`] |
//! | one server for all tests of a binary | a [`Server`] in a `static` [`LazyLock`](std::sync::LazyLock) |
//! | the path of a server, for a script | the program `nats-server-path` |
//!
//! A server never outlives the program that started it, even if that is killed: a watcher process
//! then kills the server and removes its files. So a server in a `static`, which Rust never drops,
//! is cleaned up as well.
//!
//! All calls block; starting a server takes about 50 ms. Nothing is downloaded at build time. The
//! crate needs a Unix with `/bin/sh`.

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
