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
//! | the same, and the route is [durable](#durable-delivery) | subject `task.TASK.<app>`, kept by the stream `TASK` for one of its consumers |
//! | below `/.narun/requests/`, if a route is durable | [what became of a request](#answers-that-come-later) |
//! | no match, as a layer | the inner service |
//! | no match, alone | 404, or 405 with `Allow` |
//! | CONNECT, or `Upgrade: websocket`, on a route | 501 |
//!
//! `TASK` is the namespace ([`GatewayBuilder::namespace`]).
//!
//! # BodyStore
//!
//! Requests and responses of direct routes have bodies of any size, which are passed on as they come, trailers included. One
//! that fits a message of 64 KiB beside its head costs no message of its own. Longer ones, and those that are not
//! finished, such as server-sent events, follow in further messages; each byte is on its way as soon as it is there.
//!
//! | what | how |
//! |---|---|
//! | a slow client, or handler | makes the other side wait: no more than a [window](GatewayBuilder::window) is kept for each body |
//! | many of them | share the [budget](GatewayBuilder::budget) of their gateway |
//! | both at once | a response may begin before the request's body has ended, and either may end first |
//! | `Expect: 100-continue` | the client is told to go on when the handler reads, and not at all if it does not |
//! | the request is over [`Route::max_body`] | 413, and nothing of it is sent if its length was announced; once the response has begun, that breaks off |
//! | `Content-Length` of a response | must be true: 502, or the response breaks off |
//! | HEAD, 204, 304 | have no content, whatever the consumer sends |
//!
//! A response that fails after its head *breaks off*: the HTTP server closes the connection or resets the stream in the
//! middle, so that no client takes a part for the whole. Bodies of [durable](Route::durable) routes are collected whole: up
//! to [`Route::max_body`], and the response has to fit a message of the server, 1 MiB by default.
//!
//! # gRPC
//!
//! An HTTP server that speaks HTTP/2 lets gRPC through: unary calls and streams of messages either way or both, metadata,
//! compression, statuses, cancelling. Clients need to know nothing of it. The consumer's service are tonic's `Routes`, for
//! example, and each of their services is a route, health and reflection among them:
//!
//! ```no_run
//! # async fn example(nats: async_nats::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use narun_gateway::Gateway;
//!
//! let gateway = Gateway::builder(nats)
//!     .grpc("helloworld.Greeter", "greeter")
//!     .grpc("grpc.health.v1.Health", "greeter")
//!     .grpc("grpc.reflection.v1.ServerReflection", "greeter")
//!     .build()
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! | what | how |
//! |---|---|
//! | a failure of narun's, for `application/grpc` requests | the status of the table at [`Failure`], as a trailers-only response |
//! | the same after the response has begun | it breaks off: `RST_STREAM` |
//! | `grpc-timeout` | limits everything, counted from receipt; late is DEADLINE_EXCEEDED, after the head as well, and the handler is dropped. The handler sees the field as it came |
//! | a `grpc-timeout` that is none | is not looked at here, but by the handler's server |
//! | no `grpc-timeout` | no limit: the call goes on while its client and its consumer are there. A consumer that nothing is heard of for 30 s is gone: UNAVAILABLE |
//! | a limit of the operator's | [`Route::timeout`], to the head of calls without `grpc-timeout`; [`Route::total_timeout`], to the end of all; [`Route::max_body`], in bytes of all messages together, without a default |
//! | gRPC-Web | through tonic-web's `GrpcWebLayer`: around the consumer's `Routes`, where ordinary calls pass as well; or around [`Gateway::service`], which then takes nothing else over HTTP/1.1 |
//!
//! Calls that come by other routes than [`Route::grpc`] get statuses, and `grpc-timeout` is a limit, beside those that the
//! route has. Retries are the client's affair: a call is a POST, sent again only where no consumer has begun with it.
//!
//! # What can go wrong
//!
//! Every request gets one answer; the table is at [`Failure`], and [`GatewayBuilder::on_failure`] replaces how it is
//! told. In short:
//!
//! - **No consumer**: 503 at once. **All consumers busy or stopping**: sent again to any of them up to 3 times, 5 to
//!   50 ms apart, then 503.
//! - **Timeout**: 504 after [`GatewayBuilder::timeout`] or [`Route::timeout`], 15 s by default, counted anew when the
//!   request's body moves on, and the handler is dropped. The response's body may take longer, up to
//!   [`Route::total_timeout`]; where nothing is heard of the consumer for 30 s, it breaks off.
//! - **Silence**: a consumer that has the request says so after 250 ms. Where nothing is heard for 1 s, requests with
//!   an idempotent method (RFC 9110 9.2.2) are sent again, once. So they may run twice; others never do.
//! - **Consumer gone** while it was working: 502, known within seconds. **Gone, or a message lost, after the response's
//!   head**: the response breaks off.
//! - **Disconnected from NATS**: 503 at once; nothing is queued. **Connection lost while waiting**: idempotent methods
//!   are sent again once it is back; others are answered 502 after 2 s, unless their consumer says that it is still at
//!   work.
//! - **HTTP client gone**, at any time before the end of the response: the handler is dropped as soon as its consumer can be
//!   told: 250 ms after receipt at the latest.
//! - **The gateway ends**: [`Gateway::shutdown`] waits for bodies under way, and cancels what is left.
//!
//! # Durable delivery
//!
//! A [durable](Route::durable) route puts each request into a stream, waits for the stream's confirmation, then for the
//! answer of a consumer, which it passes on as any other response:
//!
//! ```no_run
//! # async fn example(nats: async_nats::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use narun_gateway::{Gateway, Route, StreamSettings};
//!
//! let gateway = Gateway::builder(nats)
//!     .stream_settings(StreamSettings::new().replicas(3).max_bytes(10 << 30))
//!     .route(Route::any("/orders/", "orders").prefix().durable())
//!     .route(Route::post("/reports", "reports").respond_async())
//!     .build()
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! **The contract.** What the stream has confirmed is done: a consumer gets it, and gets it again until it has been answered
//! or, after too many failures, is a dead letter; whether the HTTP client, this gateway, the consumer or the server is there
//! all the while does not matter. It is done *at least* once: a consumer that dies in the middle leaves the work to
//! another one, so handlers have to bear the same request, which has the same id, twice. Time limits and cancelling are
//! for those who wait: the route's timeout ends only the waiting.
//!
//! | what happens | the client gets | the request |
//! |---|---|---|
//! | it is done in time | the response | is done |
//! | not in time | 504 with its id, and `Location` if its [outcome is kept](#answers-that-come-later) | will be done |
//! | no confirmation in time, though it was published again each second and after a new connection | 504 with its id, "may have been accepted" | unknown; sending it again is safe [with a key](#requests-accepted-once) |
//! | the stream, the account or the disk is full | 503, `Retry-After` | is not stored |
//! | no stream, or one of another name | 503, `Retry-After`; it is declared again | is not stored |
//! | JetStream does not work, or the stream is not as it must be | 503, `Retry-After`, with the difference | is not stored |
//! | content over [`Route::max_body`], 10 MiB by default, or over the stream's limit | 413 | is not stored |
//! | disconnected from NATS when asked | 503 at once | is not stored |
//! | the connection is lost after the confirmation | the response, if it comes once that is back; else 504 | will be done |
//! | it has [expired](Route::expiry) when its turn comes | 504, as the consumer's answer | is not run |
//! | the HTTP client leaves | | will be done if it was stored by then |
//!
//! **What the contract depends on.** A confirmation says what the stream's settings make it say
//! ([`GatewayBuilder::stream_settings`]):
//!
//! | setting | default | what is lost, and when |
//! |---|---|---|
//! | [`Storage::File`], 1 replica | yes | nothing when nats-server crashes or is killed; but it writes to disk every `sync_interval`, 2 minutes by default: what was confirmed since may be gone when the *machine* loses power or its kernel crashes. `sync_interval: always` in the server's configuration closes that gap and costs throughput |
//! | the same, 3 replicas | no | nothing unless 2 of the 3 machines fail so within that interval; confirmed is what a majority has |
//! | [`Storage::Memory`], 1 replica | no | everything, with each restart of the server |
//! | [`Storage::Memory`], 3 replicas | no | everything, when 2 of the 3 servers restart at the same time |
//! | the disk of the only replica breaks | | everything: more replicas are for that |
//! | [`max_age`](StreamSettings::max_age) | none | what nobody has done by then, in silence |
//! | [`max_messages`](StreamSettings::max_messages), [`max_bytes`](StreamSettings::max_bytes) | none | nothing: new requests are refused (discard policy *new*). Without a limit that is so once the disk is full |
//! | [`duplicate_window`](StreamSettings::duplicate_window) | 2 minutes | nothing; a gateway stops publishing a request again after half of it, so that it is not stored twice |
//!
//! With one replica, durable requests are refused while its server is down; what it holds waits there.
//!
//! **The stream.** [`GatewayBuilder::build`] declares what is missing, unless told [not to](StreamSettings::declare), and
//! changes nothing that exists. A stream that breaks a guarantee, such as one that drops old messages, is an error that names
//! the difference; found only later, it is logged, and durable requests get 503. A content that does not fit a
//! message beside the head is kept as an object in the bucket `<namespace>-bodies`, which is declared when it is first
//! needed, and is deleted when the request is done, or at once if the request was not stored. The response has to fit a
//! message whole.
//!
//! # Answers that come later
//!
//! A client of a [durable](Route::durable) route that sends `Prefer: respond-async` (RFC 7240), and every client of a
//! route that [always responds so](Route::respond_async), is answered 202 once the stream has the request, with the
//! `Location` of a status resource. With `wait=N` beside it, the response itself is waited for first, N seconds or the
//! route's timeout, whichever is less. The status resource, `/.narun/requests/<id>` unless [set
//! otherwise](GatewayBuilder::status_prefix), is served by every gateway of the namespace, before all routes and the
//! inner service:
//!
//! | GET or HEAD, when the request is | is answered |
//! |---|---|
//! | not done | 202 with `Retry-After` |
//! | done | what its client would have got: status, fields, content, trailers; a failure as well |
//! | not known, of another caller, or done too long ago | 404 |
//! | kept, but what is kept cannot be read | 502 |
//!
//! Other methods get 405, and everything 503 while JetStream does not work. Outcomes are kept in the bucket
//! `<namespace>-outcomes` for [`StreamSettings::outcome_ttl`] after their last change, 24 hours by default. The paths
//! are those that the gateway itself sees: in an app whose routers are nested, its layer belongs around the outermost
//! one.
//!
//! # Requests accepted once
//!
//! A request with an `Idempotency-Key`, one field of 1 to 255 bytes, is accepted once by a durable route, however often
//! and to whichever gateway it is sent:
//!
//! | a request with the same key is | answer |
//! |---|---|
//! | not known | as without a key; 504 if it is late, with the `Location` of its status resource |
//! | done | the stored response |
//! | not done | the response if it comes in time, otherwise 409 with `Location`, or 202 to who prefers that |
//! | another one: method, target or content differ | 422 |
//!
//! A key that cannot be used is 400; on routes that are not durable, keys are the handlers' affair. A key belongs to
//! the app, and to the caller if [`GatewayBuilder::caller`] tells callers apart. Fields are not compared.
//!
//! **What this guarantees.** As long as its outcome is kept, a request is stored once: the gateway makes a record of it
//! before it publishes, and notes there that the stream has it. A request that was refused (503, 413) leaves no record;
//! one of which that is not known (504, "may have been accepted") can be sent again with its key. A gateway that dies
//! between publishing and noting leaves it to the next one to publish again, under the same id, of which the stream
//! takes one within [`StreamSettings::duplicate_window`], 2 minutes by default.
//!
//! **What it does not.** If the next one comes only after that window, the request is stored a second time. Consumers
//! look at the record then and do not run what is done; what is not done by then may run twice, even at the same time.
//! A run may repeat in any case: after the crash of a consumer, work that it had not acknowledged is delivered again.
//! So handlers of durable requests have to bear that, with a key or without. Once the outcome is not kept any more, the
//! key is a new one.
//!
//! **Who can read an outcome.** Whoever knows its id, if no hook tells callers apart. The id is 128 random bits, but
//! with a key it is a hash of namespace, app, caller and key: then whoever can guess the key can read the outcome, and
//! a client that sends the same request with the same key gets it as its own. So keys have to be random, or callers
//! told apart: with a hook, an outcome is told to requests of the caller alone whose request it was, and to all others
//! it is not there. In NATS, whoever may read the bucket can read all of them.
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
//! | `http_gateway_durable_publishes_total` | subject, status (accepted, duplicate, full, missing, unavailable, too_large, unconfirmed) |
//! | `http_gateway_stream_resets_total` | path, reason (cancelled, reset, gap, timeout, too_large, length): responses that ended too early after their head |
//! | `http_gateway_requests_in_flight` | path |
//! | `http_gateway_request_body_bytes_total`, `http_gateway_response_body_bytes_total` | path |
//! | `http_gateway_retries_total` | path |
//! | `http_gateway_inbox_discarded_total` | reason (junk, unknown_exchange, foreign_reply, overflow) |
//!
//! A request is in flight, and its duration counts, until the response's head; its outcome is counted then, too. Bytes of bodies
//! are counted as they pass.
//!
//! Each request has a `tracing` span `http.gateway` with OpenTelemetry's names; `messaging.message.id` is the id under which a
//! durable request is in the stream. `traceparent` is passed on as it came.
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
mod error;
mod failure;
mod forward;
mod future;
mod gateway;
mod grpc;
mod idempotency;
mod jetstream;
mod layer;
mod metrics;
mod prefer;
mod request;

mod route;
mod service;
mod settings;
mod state;
mod status;

pub use body::{BoxError, ResponseBody};
pub use builder::GatewayBuilder;
pub use error::BuildError;
pub use failure::{DefaultFailureHook, FailureHook};
pub use forward::{DefaultPeerHook, ForwardedPolicy, Peer, PeerHook};
pub use future::ResponseFuture;
pub use gateway::Gateway;
pub use idempotency::{CallerHook, DefaultCallerHook};
pub use layer::GatewayLayer;
pub use narun_core::{App, Body, Failure, FailureContext, FailureKind, Namespace};
pub use narun_nats::jetstream::{Storage, StreamSettings};
pub use route::{Route, RouteError};
pub use service::{GatewayService, NotFound};
