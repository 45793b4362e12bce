//! Runs any tower service as a consumer of HTTP requests over NATS.
//!
//! Handlers stay ordinary: an axum `Router`, or any `tower::Service<http::Request<Body>>`, sees the request as the HTTP
//! client sent it to a gateway (narun-gateway): method, target, fields, version, body. [`Received`] in its extensions
//! tells the rest.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::post};
//!
//! let nats = async_nats::connect("127.0.0.1:4222").await?;
//! let router = Router::new().route("/hello/", post(|name: String| async move { format!("Hello, {name}!") }));
//! narun_consumer::serve(nats, "hello", router)
//!     .concurrency(256)
//!     .with_graceful_shutdown(async { let _ = tokio::signal::ctrl_c().await; })
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! Run as many as you like: those of the same app and namespace share the work through a NATS queue group.
//!
//! # What becomes of a request
//!
//! | | |
//! |---|---|
//! | a slot is free ([`Serve::concurrency`], 1024) | the handler starts |
//! | a place in the queue is free ([`Serve::queue`], 32) | it waits for a slot |
//! | neither | refused; the gateway sends it to another consumer, or answers 503 |
//! | the handler answers, whole response up to 64 KiB | that is the response; a larger one is a 502 that says so |
//! | it panics, or its service fails | 500; nothing else is affected |
//! | the gateway's time is over, its HTTP client left, or it is gone | the handler's future is dropped |
//! | no frame of narun's, or of another version | refused, if it names an inbox; counted |
//! | the connection to NATS is lost | handlers go on; responses are sent once it is back |
//! | the NATS client dies for good | `serve` returns [`ServeError::ClientLost`]: start anew |
//!
//! Delivery is direct: at most once for each attempt of the gateway. A gateway may try again where a method is
//! idempotent (RFC 9110 9.2.2), and then a request may run twice, at once or one after the other, with the same
//! [`Received::id`].
//!
//! # Handlers
//!
//! A handler that is ready at its first poll is run by the one task that hands out requests, without a task of its
//! own; any other is spawned. Where first polls take more than 100 µs on average, handlers are spawned at once, so
//! that CPU-bound ones use all workers of the runtime. Such handlers want a [`Serve::concurrency`] near the number of
//! cores. Blocking code belongs into `tokio::task::spawn_blocking`.
//!
//! # Shutdown
//!
//! When the signal of [`Serve::with_graceful_shutdown`] comes, the consumer leaves its queue group, which takes 1 to 2
//! seconds in which it goes on serving; waits for its handlers up to [`Serve::shutdown_timeout`]; drops the rest and
//! tells their gateways; and makes a round trip to the server, so that all responses are there.
//!
//! A client cannot leave a queue group without a risk to what is on its way, so this is measured: with 64 POSTs at a
//! time, none of 194,339 was lost while 40 consumers left over loopback, and none of 91,234 while 30 left that were
//! 2 ms away each way (`drain`, in narun's benches). After a reconnect the gentle way is not open, as client and server
//! count messages differently, and the subscription is drained at once: that lost 4 of 60,000 over loopback, and 277
//! with 2 ms each way.
//!
//! # Trust
//!
//! A consumer publishes to no reply subject outside [`Serve::inbox_prefixes`], whatever a request names. The least NATS
//! permissions of gateways and consumers, and who can forge what with them, are listed in [`permissions`].
//!
//! # Metrics and spans
//!
//! Through the [`metrics`](https://docs.rs/metrics) facade; install a recorder before serving.
//!
//! | metric | labels |
//! |---|---|
//! | `http_consumer_requests_total` | app, status_class |
//! | `http_consumer_request_duration_seconds` | app |
//! | `http_consumer_requests_in_flight`, `http_consumer_requests_queued` | app |
//! | `http_consumer_refused_total` | app, reason (overloaded, bad_frame, version) |
//! | `http_consumer_cancelled_total` | app, reason (caller, gone, deadline) |
//! | `http_consumer_handler_failures_total` | app, reason (panic, error, too_large) |
//! | `http_consumer_discarded_total` | reason (junk, unknown_exchange, foreign_reply, overflow) |
//!
//! Each request has a `tracing` span `http.consumer`; see [`Serve::make_span`].

mod admission;
mod answer;
mod dead_letters;
mod declare;
mod dispatch;
mod drain;
mod durable;
mod error;
mod extensions;
mod handler;
mod metrics;
mod run;
mod serve;
mod trace;

#[doc = include_str!("../PERMISSIONS.md")]
pub mod permissions {}

pub use dead_letters::{DeadLetter, DeadLetterError, DeadLetters};
pub use declare::declare;
pub use error::{BoxError, ServeError};
pub use extensions::{Delivery, Received};
pub use narun_core::{App, Body, BodyError, ExchangeId, NameError, Storage, StreamSettings};
pub use serve::{Serve, serve};
