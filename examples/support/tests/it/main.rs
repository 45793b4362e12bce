//! Tests with real servers. The first run on a machine fetches those that are not installed.

mod cluster;
mod lifecycle;
mod setup;
mod supervision;
mod wire;
