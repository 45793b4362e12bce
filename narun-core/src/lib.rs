//! The protocol of narun: HTTP requests and responses as frames over NATS, without IO.
//!
//! A gateway puts an HTTP request into a [frame] and publishes it to its app's [subject](names); a consumer answers
//! with the frame of a response. What both have to do in between, such as sending a request again or telling that nobody
//! waits any more, are the state machines of an [exchange].
//!
//! This crate has no socket, runtime or clock, and starts nothing: bytes and moments come in as arguments, bytes go out as
//! return values. Who only wants to serve HTTP over NATS needs the crates narun-gateway and narun-consumer, and this one
//! not. The protocol is written down for other languages in `spec/exchange.md`, with a definition in CDDL and test
//! vectors.
//!
//! # Example
//!
//! ```
//! use http::{Request, Response};
//! use narun_core::fields::Edit;
//! use narun_core::frame::{Frame, RequestHead, ResponseFrame, ResponseHead};
//! use narun_core::{App, ExchangeId, Limits, Namespace};
//!
//! let limits = Limits::default();
//!
//! // The gateway's side: this goes to this subject.
//! let (parts, body) = Request::post("/greet?polite").header("accept", "text/plain").body("Ann")?.into_parts();
//! let head = RequestHead::new(ExchangeId::from_bytes([7; 16]));
//! let payload = head.encode(&parts, Edit::default(), body.as_bytes(), None, &limits)?;
//! assert_eq!(Namespace::default().call_subject(&App::new("hello")?), "call.TASK.hello");
//!
//! // The consumer's side: this came, and that is the answer.
//! let Frame::Request(request) = Frame::decode(&payload, &limits)? else { panic!("no request") };
//! assert_eq!(request.parts.uri.query(), Some("polite"));
//! assert_eq!(request.parts.headers["accept"], "text/plain");
//! assert_eq!(request.body, "Ann");
//! let (parts, body) = Response::new("Good morning, Ann!").into_parts();
//! let answer = ResponseHead::new().encode(&parts, Edit::default(), body.as_bytes(), None, &limits)?;
//!
//! // The gateway again.
//! let response = ResponseFrame::decode(&answer, &limits)?;
//! assert_eq!((response.parts.status.as_u16(), &response.body[..]), (200, &b"Good morning, Ann!"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Modules
//!
//! | module | what is in it |
//! |---|---|
//! | [`frame`] | the nine frames, encoding and decoding |
//! | [`exchange`] | one request and its response, from both sides, as state machines |
//! | [`fields`] | which HTTP fields cross, and changes to them |
//! | [`names`] | apps, namespaces and their subjects |
//!
//! # Subjects
//!
//! | subject | what is sent there |
//! |---|---|
//! | `call.<namespace>.<app>` | direct requests; consumers are in the queue group `<app>` |
//! | `task.<namespace>.<app>` | durable requests, captured by the stream `<namespace>` |
//! | `dead.<namespace>.<app>` | durable requests that were given up, captured by the stream `<namespace>-dead` |
//! | `_INBOX.<process>.<token>` | all other frames, to a process of either side |
//!
//! # Hostile input
//!
//! Decoding takes any bytes: it never panics, and [`Limits`] are checked before anything is allocated for what a payload
//! claims. Bodies, targets and field values are slices of the payload, so it lives as long as they do.

pub mod exchange;
pub mod fields;
pub mod frame;
pub mod names;

mod body;
mod failure;
mod id;
mod limits;
mod time;

pub use body::{Body, BodyError, BodyErrorKind};
pub use failure::{Failure, FailureContext, FailureKind, GrpcCode};
pub use id::{ExchangeId, ParseIdError};
pub use limits::Limits;
pub use names::{App, NameError, Namespace};
pub use time::Time;
