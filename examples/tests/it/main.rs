//! Runs the examples as programs, over real HTTP.

mod access;
mod axum_layer;
mod dead_letters;
mod durable;
mod gateway;
mod grpc;
mod grpc_through;
mod program;
mod proxy_existing;
mod quickstart;
mod rollout;
mod smallest;
mod sse;
mod upload_download;
