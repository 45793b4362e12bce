//! One request, from its receipt to its response: the handler on one side, the exchange on the other.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use async_nats::Subject;
use http::{Request, Response};
use narun_core::exchange::{Callee, CalleeEvent};
use narun_core::frame::ResetCode;
use narun_core::{Body, FailureContext, Time};
use narun_nats::PublishError;
use narun_nats::body::BodyPart;
use narun_nats::drive::{Application, Hold, Serving};
use narun_nats::inbox::Endpoint;
use pin_project::{pin_project, pinned_drop};
use tower_service::Service;
use tracing::Span;

use crate::admission::Place;
use crate::consumer::{Admitted, Consumer};
use crate::error::BoxError;
use crate::handler::{Extent, Handler};
use crate::response::{EncodedOutcome, EncodedResponse, FollowingBody, report, unsendable};

/// The handling of one request: a future that ends with its exchange, however that ends.
///
/// Dropped before its end, it notifies the gateway that this process is stopping.
#[pin_project(PinnedDrop)]
pub(crate) struct Handling<S: Service<Request<Body>, Response = Response<B>>, B> {
    #[pin]
    drive: Serving,
    #[pin]
    app: HandlerApp<S, B>,
}

/// The application of an exchange: the handler, and the body of its response.
#[pin_project]
struct HandlerApp<S: Service<Request<Body>, Response = Response<B>>, B> {
    consumer: Arc<Consumer>,
    received: Time,
    #[pin]
    handler: Handler<S, B>,
    context: FailureContext,
    span: Span,
    /// Whether the duration of the first poll has been recorded.
    is_measured: bool,
    /// Whether the handler has returned.
    has_returned: bool,
    /// Whether a body is streamed: the request's, or the response's.
    streams_request: bool,
    streams_response: bool,
    /// Whether the slot has been given back, as only the response waits for the gateway.
    is_released: bool,
    /// Declared last: it is given back after the handler's slot.
    place: Place,
}

impl<S, B> Handling<S, B>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    /// Runs the handler when polled, if a slot is free. Otherwise it waits for one.
    pub(crate) fn new(consumer: Arc<Consumer>, service: S, admitted: Admitted) -> Self {
        let Admitted { request, machine, received, span, place } = admitted;
        let context = FailureContext::of_request(request.method(), request.headers());
        let slot = consumer.admission.try_slot().ok_or_else(|| consumer.admission.slot());
        match slot {
            Ok(_) => consumer.metrics.in_flight.increment(1.0),
            Err(_) => consumer.metrics.queued.increment(1.0),
        }
        let app = HandlerApp {
            received,
            handler: Handler::new(service, request, slot, Extent::Prefix(consumer.endpoint.max_frame())),
            context,
            span,
            is_measured: false,
            has_returned: false,
            streams_request: machine.is_shared(),
            streams_response: false,
            is_released: false,
            place,
            consumer,
        };
        Self { drive: Serving::serve(app.consumer.endpoint.clone(), machine), app }
    }

    /// Polls the handler once, in place. Returns `true` if the exchange has ended. Otherwise this future must be spawned.
    pub(crate) fn try_finish(self: Pin<&mut Self>) -> bool {
        let this = self.project();
        this.drive.try_finish(this.app)
    }
}

impl<S, B> HandlerApp<S, B>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    /// Polls the handler, and gives its result, if any, to the machine.
    fn poll_handler(self: Pin<&mut Self>, cx: &mut Context<'_>, machine: &mut impl Hold<Callee<Subject>>) {
        let mut this = self.project();
        let _entered = this.span.enter();
        let consumer = this.consumer.as_ref();
        let Consumer { endpoint, admission, metrics, .. } = consumer;
        let queued = !this.handler.has_started();
        let before = (!*this.is_measured).then(|| endpoint.now());
        let outcome = this.handler.as_mut().poll(cx);
        if queued && this.handler.has_started() {
            metrics.queued.decrement(1.0);
            metrics.in_flight.increment(1.0);
        }
        if let Some(before) = before
            && this.handler.has_started()
        {
            *this.is_measured = true;
            admission.first_poll_took(endpoint.now() - before);
        }
        let Poll::Ready(outcome) = outcome else { return };
        *this.has_returned = true;
        let now = endpoint.now();
        let encoded = EncodedOutcome::new(outcome, this.context, consumer);
        this.span.record("http.response.status_code", encoded.status.as_u16());
        metrics.handled(encoded.status, now - *this.received);
        let EncodedResponse { frame, rest } = match encoded.response {
            Ok(response) => response,
            Err(problem) => {
                return machine.with(|callee| callee.abort(ResetCode::TooLarge, &problem, true));
            }
        };
        let Some(FollowingBody { inline, cut, part }) = rest else {
            let has_ended = machine.with(|callee| {
                callee.respond(now, frame);
                callee.is_ended()
            });
            if !has_ended && let Some(place) = admission.admit_unconfirmed() {
                this.handler.release();
                (*this.place, *this.is_released) = (place, true);
                metrics.in_flight.decrement(1.0);
            }
            return;
        };
        *this.streams_response = true;
        let fits = machine.with(|callee| {
            callee.respond_with_body(now, frame, inline);
            callee.send(now, cut);
            send(callee, now, part)
        });
        if !fits {
            report_trailers(consumer, this.context);
        }
    }

    /// Sends as much of the response's body as there is and the machine has credit for. Pending if the body is.
    fn poll_body(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        machine: &mut impl Hold<Callee<Subject>>,
    ) -> Poll<()> {
        let mut this = self.project();
        let _entered = this.span.enter();
        let Consumer { endpoint, metrics, .. } = this.consumer.as_ref();
        while machine.with(|callee| callee.wants_data()) {
            match this.handler.as_mut().poll_body(cx) {
                Poll::Pending => {
                    machine.with(Callee::uncork);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(part)) => {
                    if !machine.with(|callee| send(callee, endpoint.now(), part)) {
                        report_trailers(this.consumer, this.context);
                    }
                }
                Poll::Ready(Err(error)) => {
                    report(&error, this.consumer, this.context);
                    metrics.stream_reset("failed");
                    let text = "the response's body broke off";
                    machine.with(|callee| callee.abort(ResetCode::Internal, text, true));
                }
            }
        }
        machine.with(Callee::cork);
        Poll::Ready(())
    }
}

impl<S, B> Application<Callee<Subject>> for HandlerApp<S, B>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    type Output = ();

    /// Runs the user's code: the handler, then the body of its response.
    fn poll_advance(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _endpoint: &Endpoint,
        machine: &mut impl Hold<Callee<Subject>>,
    ) -> Poll<()> {
        if !self.has_returned {
            self.as_mut().poll_handler(cx, machine);
        }
        if self.streams_response { self.poll_body(cx, machine) } else { Poll::Pending }
    }

    fn event(self: Pin<&mut Self>, CalleeEvent::Cancelled(why): CalleeEvent) -> Option<()> {
        tracing::debug!(parent: &self.span, ?why, "request cancelled");
        self.consumer.metrics.cancelled(why, self.streams_request || self.streams_response);
        None
    }

    /// A dead client is noticed by the tasks that read from it.
    fn unsent(
        self: Pin<&mut Self>,
        _error: PublishError,
        _endpoint: &Endpoint,
        _machine: &mut impl Hold<Callee<Subject>>,
    ) -> Option<()> {
        None
    }

    fn ended(self: Pin<&mut Self>) -> Option<()> {
        Some(())
    }
}

/// Gives a part of the response's body to the machine. Returns `false` if its trailers do not fit a frame.
fn send(callee: &mut Callee<Subject>, now: Time, part: BodyPart) -> bool {
    let BodyPart { data, end, trailers } = part;
    callee.send(now, data);
    if end {
        callee.finish(now, trailers);
    }
    !callee.is_ended()
}

/// Logs and counts trailers that cannot be sent. What came before them has been sent.
fn report_trailers(consumer: &Consumer, context: &FailureContext) {
    unsendable("the trailers do not fit one frame", consumer, context);
    consumer.metrics.stream_reset("too_large");
}

impl<S, B> Future for Handling<S, B>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        this.drive.poll(cx, this.app)
    }
}

#[pinned_drop]
impl<S, B> PinnedDrop for Handling<S, B>
where
    S: Service<Request<Body>, Response = Response<B>>,
{
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        let mut drive = this.drive;
        let HandlerApp { handler, consumer, streams_request, streams_response, is_released, .. } = &*this.app;
        let metrics = &consumer.metrics;
        match (is_released, handler.has_started()) {
            (true, _) => {}
            (false, true) => metrics.in_flight.decrement(1.0),
            (false, false) => metrics.queued.decrement(1.0),
        }
        let ran = handler.was_called();
        let was_open = drive.as_mut().machine().with(|callee| {
            let was_open = !callee.is_ended();
            callee.abort(ResetCode::Draining, "the consumer is stopping", ran);
            was_open
        });
        if was_open && (*streams_request || *streams_response) {
            metrics.stream_reset("draining");
        }
        drive.abandon(Waker::noop());
    }
}
