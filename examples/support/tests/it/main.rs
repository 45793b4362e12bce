//! Runs real servers; the first run on a machine without any fetches them.

mod cluster;
mod lifecycle;
mod setup;
mod supervision;
mod wire;
