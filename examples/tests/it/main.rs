//! Runs the examples as a user would: as programs, over real HTTP.

mod axum_layer;
mod gateway;
mod program;
mod quickstart;
