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
//! | the handler answers | that is the response; its body follows as it comes, however long it is |
//! | the response's head is over 64 KiB, or has more than 256 fields | 502, which says so |
//! | it panics, or its service fails | 500; nothing else is affected |
//! | its response's body fails or panics after the head was sent | the response breaks off; no client takes it for whole |
//! | the gateway's time is over, its HTTP client left, or it is gone | the handler's future is dropped |
//! | no frame of narun's, or of another version | refused, if it names an inbox; counted |
//! | the connection to NATS is lost | handlers go on; responses are sent once it is back |
//! | the NATS client dies for good | `serve` returns [`ServeError::ClientLost`]: start anew |
//!
//! That is direct delivery: at most once for each attempt of the gateway. A gateway may try again where a method is
//! idempotent (RFC 9110 9.2.2), and then a request may run twice, at once or one after the other, with the same
//! [`Received::id`].
//!
//! # BodyStore
//!
//! Bodies are streamed both ways, in constant memory. What fits one message of 64 KiB with its head goes with that; a
//! longer request is handed to the handler at once, and the rest of its body comes while the handler reads it. What it
//! never reads is never sent, and once it drops the body, the gateway is told to stop.
//!
//! A response is sent when its head is there, with what its body yields without waiting; a body whose `size_hint` is
//! exact and small is waited for, so that one message does. Afterwards each part that the body yields is on its way at
//! once, so server-sent events need nothing special. The body is polled only while the HTTP client reads, up to
//! [`Serve::window`] ahead; the slot ([`Serve::concurrency`]) is held until it has ended. A handler may answer before
//! it has read the request, and go on reading while its response's body is sent; when that has ended, so has the
//! exchange.
//!
//! If anything is lost on the way, if the HTTP client leaves, or the gateway's time is over, the handler and its
//! response's body are dropped; what reads the request's body elsewhere gets a [`BodyError`]. So does a reader of a
//! body that has another length than its `Content-Length` said.
//!
//! # gRPC
//!
//! tonic's `Routes` are a service like any other, with all kinds of calls, over a gateway whose HTTP server speaks HTTP/2:
//!
//! ```no_run
//! # async fn example(nats: async_nats::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let (reporter, health) = tonic_health::server::health_reporter();
//! let reflection = tonic_reflection::server::Builder::configure()
//!     .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
//!     .build_v1()?;
//! let routes = tonic::service::Routes::new(health).add_service(reflection);
//! narun_consumer::serve(nats, "greeter", routes).await?;
//! # Ok(())
//! # }
//! ```
//!
//! What its handlers see is what tonic's own server gives them, but that the peer's address is in [`Received`], and that
//! there is no `te` field. A client that cancels, or whose deadline is over, drops the handler and its streams. A panic is
//! INTERNAL. A call holds its slot ([`Serve::concurrency`]) until it ends: count with the streams that are open all day.
//! Browsers' gRPC-Web takes tonic-web's `GrpcWebLayer` around the routes.
//!
//! # Durable requests
//!
//! With [`Serve::stream`] a consumer also serves the requests that gateways keep in a JetStream stream. Such a request
//! is done once the gateway has it accepted, whoever dies in between; in the ordinary case its client is answered on
//! the same connection.
//!
//! ```no_run
//! # async fn example(nats: async_nats::Client, router: axum::Router) -> Result<(), narun_consumer::ServeError> {
//! narun_consumer::serve(nats, "hello", router).stream("TASK").durable_concurrency(16).await
//! # }
//! ```
//!
//! **The contract of a handler.** It runs at least once, so let it be idempotent by [`Received::id`], which is the same
//! in every delivery; [`Delivery::Durable`] tells which delivery it is. It runs again after a failure, and when its
//! process, the server or the connection died before the server had the acknowledgement. Two runs may overlap for a
//! while: one goes on in a process that has lost its connection, the other runs where the request was delivered
//! again. No order is kept. A handler has no deadline unless [`Serve::handler_timeout`] sets one, and nobody's
//! leaving cancels it: neither the HTTP client nor the gateway. The body of its request is whole; its response is collected whole, and is kept before
//! it is sent where the request asks for that (`Idempotency-Key`, `Prefer: respond-async`).
//!
//! | setting | default | |
//! |---|---|---|
//! | [`Serve::durable_concurrency`] | that of direct ones | how many are taken out of the stream at once |
//! | [`Serve::ack_wait`] | 5 s | how long a process may be dead before others take over |
//! | [`Serve::max_deliveries`] | 5 | after how many a request is given up |
//! | [`Serve::redelivery_delay`] | 1 s to 60 s | from a failure to the next delivery, doubling |
//! | [`Serve::retry_server_errors`] | no | whether a 5xx is a failure, not the answer |
//! | [`Serve::handler_timeout`] | none | how long a handler may take |
//! | [`Serve::stream_settings`] | file, 1 replica | how streams and buckets are declared |
//!
//! What becomes of one:
//!
//! | | |
//! |---|---|
//! | the handler answers, whatever the status | answered, and out of the stream |
//! | its response is over the server's `max_payload` less 4 KiB | answered 502, which says so; not run again |
//! | it panics, its service fails, its body breaks off, it takes too long, or a 5xx where that is set | delivered again after the delay |
//! | that happens in the last delivery | a dead letter with its reason, answered 500 |
//! | it was delivered more often than that, since its consumers died | not run; a dead letter, answered 500 |
//! | it is older than the route's expiry | not run; answered 504 |
//! | it came before, and its outcome is kept | not run; answered as before |
//! | its outcome or body cannot be stored or read for 30 s | delivered again; the work may repeat |
//! | it is of a newer version of the protocol | delivered again, in case another consumer speaks it; in the last one a dead letter |
//! | no request of narun's, or it refers to foreign buckets | a dead letter |
//! | its body is gone | delivered again, in case another delivery is done with it; in the last one a dead letter |
//! | it names no inbox, or a foreign one | done, and not answered |
//! | the stream or its consumer is deleted | declared again; what was in it is lost |
//! | the connection to NATS is lost | handlers go on; the request is delivered again if that takes longer than the ack wait |
//!
//! [`DeadLetters`] lists what was given up, puts it back, or deletes it. Bodies over the server's `max_payload` are held
//! in memory while their request is worked on: [`Serve::durable_concurrency`] bounds how many.
//!
//! **What can be lost.** A gateway takes a request for accepted when the server says that it is stored. With
//! [`Storage::File`] and one replica it survives a crash of the server's process; nats-server leaves what it writes to
//! the operating system, and syncs it every two minutes unless its `sync_interval` says otherwise, so that a machine
//! that loses power may lose the last of it. With three replicas, the loss of any one machine loses nothing. With
//! [`Storage::Memory`] and one replica, everything is lost with the server's process. With [`StreamSettings::max_age`],
//! requests that wait longer are lost without a word.
//!
//! Deliveries are counted by the server, whatever their end: a request that was on its way at [`Serve::max_deliveries`]
//! shutdowns of its consumers is given up like one that kills them. A server that is killed forgets the counts and
//! acknowledgements that it has not written down yet: the count begins anew, and what was done comes again. Where its
//! outcome is kept, it is answered from that and not run again. Whether a request has expired is told by this
//! machine's clock, counted from when the server stored it by its own.
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
//! tells their gateways; and makes a round trip to the server, so that all responses are there. Meanwhile it asks for
//! no more durable requests, gives back those that come nevertheless, and those whose handlers are dropped: others
//! have them at once.
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
//! | `http_consumer_cancelled_total` | app, reason (caller, gone, deadline, idle, broken) |
//! | `http_consumer_stream_resets_total` | app, reason (those, and failed, too_large, draining): streamed bodies that broke off |
//! | `http_consumer_handler_failures_total` | app, reason (panic, error, too_large, timed_out, status) |
//! | `http_consumer_discarded_total` | reason (junk, unknown_exchange, foreign_reply, overflow) |
//! | `http_consumer_redelivered_total`, `http_consumer_expired_total`, `http_consumer_duplicates_total` | app |
//! | `http_consumer_dead_lettered_total` | app, reason (failed, deliveries, no_body, foreign_reference, unreadable) |
//! | `http_consumer_pending` | app; requests that wait in the stream, looked at every 10 s |
//!
//! Each request has a `tracing` span `http.consumer`; see [`Serve::make_span`].

mod admission;
mod consumer;
mod dead_letters;
mod declare;
mod dispatch;
mod dispatcher;
mod drain;
mod durable;
mod error;
mod extensions;
mod handler;
mod machine;
mod metrics;
mod reader;
mod response;
mod run;
mod serve;
mod settings;
mod trace;

#[doc = include_str!("../PERMISSIONS.md")]
pub mod permissions {}

pub use dead_letters::{DeadLetter, DeadLetterError, DeadLetters};
pub use declare::declare;
pub use error::{BoxError, ServeError};
pub use extensions::{Delivery, Received};
pub use narun_core::{App, Body, BodyError, BodyErrorKind, ExchangeId, NameError};
pub use narun_nats::jetstream::{Storage, StreamSettings};
pub use serve::{Serve, serve};
