//! HTTP requests of any axum or hyper app, sent over NATS: a tower layer and service.
//!
//! A [`Gateway`] is built of a connected NATS client and [`Route`]s. As a layer it takes the requests that match a
//! route out of an app; all others reach the app's own handlers. As a service it stands alone. Whoever runs
//! narun-consumer for a route's app, in any process on the same NATS, answers.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use narun_gateway::{Gateway, Route};
//!
//! let nats = async_nats::connect("127.0.0.1:4222").await?;
//! let gateway = Gateway::builder(nats)
//!     .route(Route::post("/hello/", "hello").prefix())
//!     .route(Route::get("/users/{id}", "users"))
//!     .build()
//!     .await?;
//! let app = Router::new().route("/local", get(|| async { "here" })).layer(gateway.layer());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! axum::serve(listener, app).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What goes where
//!
//! | request | goes to |
//! |---|---|
//! | host, path and method match a route to `app` | subject `call.TASK.<app>`, queue group `<app>`: one of its consumers |
//! | no match, as a layer | the inner service |
//! | no match, alone | 404, or 405 with `Allow` |
//! | CONNECT, or `Upgrade: websocket`, on a route | 501 |
//!
//! `TASK` is the namespace ([`GatewayBuilder::namespace`]). A request is one message and so is its response: each must
//! fit 64 KiB whole, head and content, for now. A larger request is answered 413, a larger response 502.
//!
//! # What can go wrong
//!
//! Every request gets one answer; the table is at [`Failure`], and [`GatewayBuilder::on_failure`] replaces how it is
//! told. In short:
//!
//! - **No consumer**: 503 at once. **All consumers busy or stopping**: sent again to any of them up to 3 times, 5 to
//!   50 ms apart, then 503.
//! - **Timeout**: 504 after [`GatewayBuilder::timeout`] or [`Route::timeout`], 15 s by default, and the handler is
//!   dropped.
//! - **Silence**: a consumer that has the request says so after 250 ms. Where nothing is heard for 1 s, requests with
//!   an idempotent method (RFC 9110 9.2.2) are sent again, once. So they may run twice; others never do.
//! - **Consumer gone** while it was working: 502, known within seconds.
//! - **Disconnected from NATS**: 503 at once; nothing is queued. **Connection lost while waiting**: idempotent methods
//!   are sent again once it is back; others are answered 502 after 2 s, unless their consumer says that it is still at
//!   work.
//! - **HTTP client gone**: the handler is dropped as soon as its consumer can be told: 250 ms after receipt at the
//!   latest.
//!
//! # Trust
//!
//! Only what comes to a token of 128 random bits is taken for an answer, and nothing is ever published to a reply
//! subject outside [`GatewayBuilder::inbox_prefixes`]. The [least NATS permissions] of a gateway are listed in
//! narun-consumer's documentation, next to those of consumers.
//!
//! [least NATS permissions]: https://docs.rs/narun-consumer/latest/narun_consumer/permissions/
//!
//! # Metrics and spans
//!
//! Through the [`metrics`](https://docs.rs/metrics) facade; install a recorder before the first request. `path` is the
//! route's template, never the request's path.
//!
//! | metric | labels |
//! |---|---|
//! | `http_gateway_requests_total` | method, path, status_code (499: the client left) |
//! | `http_gateway_request_duration_seconds` | method, path |
//! | `http_gateway_nats_requests_total` | subject, status (success, timeout, error, no_responders, refused, cancelled) |
//! | `http_gateway_requests_in_flight` | path |
//! | `http_gateway_request_body_bytes_total`, `http_gateway_response_body_bytes_total` | path |
//! | `http_gateway_retries_total` | path |
//! | `http_gateway_inbox_discarded_total` | reason (junk, unknown_exchange, foreign_reply, overflow) |
//!
//! Each request has a `tracing` span `http.gateway` with OpenTelemetry's names; `traceparent` is passed on as it came.
//!
//! # Features
//!
//! | feature | adds | default |
//! |---|---|---|
//! | `config` | module `config`: routes and addresses from a configuration file, through serde | no |

#[cfg(feature = "config")]
pub mod config;

mod body;
mod builder;
mod durable;
mod error;
mod exchange;
mod forward;
mod future;
mod gateway;
mod idempotency;
mod layer;
mod metrics;
mod prefer;
mod respond;
mod route;
mod service;
mod status;

pub use body::{BoxError, ResponseBody};
pub use builder::GatewayBuilder;
pub use error::BuildError;
pub use forward::{DefaultPeerHook, ForwardedPolicy, Peer, PeerHook};
pub use future::ResponseFuture;
pub use gateway::Gateway;
pub use idempotency::{CallerHook, DefaultCallerHook};
pub use layer::GatewayLayer;
pub use narun_core::{App, Body, Failure, FailureContext, FailureKind, Namespace, Storage, StreamSettings};
pub use respond::{DefaultRespondToFailure, RespondToFailure};
pub use route::{AllowedMethods, Lookup, Route, RouteError, RouteTable};
pub use service::{GatewayService, NotFound};
