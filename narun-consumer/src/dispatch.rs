//! One request, from its receipt to its response: the handler on one side, the exchange on the other.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use async_nats::Subject;
use http::{Request, Response};
use narun_core::exchange::{Callee, CalleeConfig, CalleeEvent, Transmit};
use narun_core::frame::{Frame, ResetCode};
use narun_core::link::{Link, Mail, NatsEndpoint, Outgoing, PublishError, Registration, Timer, TokioTimer};
use narun_core::{App, Body, FailureContext, Time};
use pin_project::{pin_project, pinned_drop};
use tower_service::Service;
use tracing::Span;

use crate::admission::{Admission, Place};
use crate::answer::Answer;
use crate::error::BoxError;
use crate::handler::Handler;
use crate::metrics::Metrics;
use crate::serve::MakeSpan;

/// What all requests of a consumer share.
pub(crate) struct Consumer {
    pub(crate) app: App,
    pub(crate) make_span: MakeSpan,
    pub(crate) endpoint: Arc<NatsEndpoint>,
    pub(crate) admission: Admission,
    pub(crate) exchange: CalleeConfig,
    pub(crate) metrics: Metrics,
}

/// A request that was read and has a place.
pub(crate) struct Admitted {
    pub(crate) request: Request<Body>,
    pub(crate) machine: Callee<Subject>,
    pub(crate) received: Time,
    pub(crate) span: Span,
    pub(crate) place: Place,
}

/// A future that ends with the exchange, whatever becomes of it.
///
/// Dropped before its end, it tells the gateway that this process is stopping.
#[pin_project(PinnedDrop)]
pub(crate) struct Dispatch<S: Service<Request<Body>, Response = Response<B>>, B> {
    consumer: Arc<Consumer>,
    received: Time,
    machine: Callee<Subject>,
    #[pin]
    handler: Handler<S, B>,
    context: FailureContext,
    span: Span,
    registration: Option<Registration<Subject>>,
    outgoing: Outgoing,
    #[pin]
    timer: TokioTimer,
    measured: bool,
    /// Declared last, so that it is given back after the handler's slot.
    _place: Place,
}

impl<S, B> Dispatch<S, B>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    /// Starts when polled if there is a slot, or else waits for one.
    pub(crate) fn new(consumer: Arc<Consumer>, service: S, admitted: Admitted) -> Self {
        let Admitted { request, machine, received, span, place } = admitted;
        let context = FailureContext::of_request(request.method(), request.headers());
        let slot = consumer.admission.try_slot().ok_or_else(|| consumer.admission.slot());
        match slot {
            Ok(_) => consumer.metrics.in_flight.increment(1.0),
            Err(_) => consumer.metrics.queued.increment(1.0),
        }
        Self {
            received,
            machine,
            handler: Handler::new(service, request, slot, consumer.endpoint.limits().frame),
            context,
            span,
            registration: None,
            outgoing: Outgoing::default(),
            timer: consumer.endpoint.link().timer(),
            measured: false,
            _place: place,
            consumer,
        }
    }

    /// Polls the handler once, in place. True if that was all; otherwise the future is to be spawned.
    pub(crate) fn try_finish(mut self: Pin<&mut Self>) -> bool {
        // No wake-up is lost: a spawned task polls everything again at once.
        let mut cx = Context::from_waker(Waker::noop());
        self.as_mut().poll_handler(&mut cx);
        self.machine.is_ended() && self.poll_transmit(&mut cx).is_ready()
    }

    /// Polls the handler; its outcome, if any, goes to the machine.
    fn poll_handler(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let mut this = self.project();
        let _entered = this.span.enter();
        let consumer = this.consumer.as_ref();
        let Consumer { endpoint, admission, metrics, .. } = consumer;
        let queued = !this.handler.has_started();
        let before = (!*this.measured).then(|| endpoint.link().now());
        let outcome = this.handler.as_mut().poll(cx);
        if queued && this.handler.has_started() {
            metrics.queued.decrement(1.0);
            metrics.in_flight.increment(1.0);
        }
        if let Some(before) = before
            && this.handler.has_started()
        {
            *this.measured = true;
            admission.first_poll_took(endpoint.link().now() - before);
        }
        let Poll::Ready(outcome) = outcome else { return };
        let answer = Answer::new(outcome, this.context, consumer);
        this.span.record("http.response.status_code", answer.status.as_u16());
        metrics.handled(answer.status, endpoint.link().now() - *this.received);
        match answer.frame {
            Ok(frame) => this.machine.respond(frame),
            Err(too_large) => this.machine.abort(ResetCode::TooLarge, too_large, true),
        }
    }

    /// Publishes what the machine wants published; pending while the client's queue is full.
    fn poll_transmit(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        let this = self.project();
        loop {
            ready!(this.outgoing.poll_ready(cx))?;
            let Some(Transmit::Frame { to, payload, reply }) = this.machine.poll_transmit() else {
                return Poll::Ready(Ok(()));
            };
            let endpoint = &this.consumer.endpoint;
            let reply = reply.map(|_| {
                let registration = this.registration.get_or_insert_with(|| endpoint.register());
                Subject::from(registration.reply(0))
            });
            this.outgoing.send(endpoint.link(), to, reply, payload)?;
        }
    }

    /// Ready when the machine has something new to say.
    fn poll_exchange(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let mail = match this.registration {
            Some(registration) => registration.mailbox().poll_take(cx),
            None => Poll::Pending,
        };
        if let Poll::Ready(mail) = mail {
            match mail {
                // What is no frame is of nobody that we gave our token to.
                Mail::Frame { payload, reply, .. } => {
                    let endpoint = &this.consumer.endpoint;
                    if let Ok(frame) = Frame::decode(&payload, endpoint.limits()) {
                        this.machine.handle_frame(endpoint.link().now(), frame, reply);
                    }
                }
                Mail::NoResponders { .. } => {
                    let now = this.consumer.endpoint.link().now();
                    this.machine.handle_no_responders(now, &this.consumer.exchange);
                }
                // The gateway, which has lost its connection or has not, asks if it wants to know.
                Mail::Connection(_) => {}
            }
            return Poll::Ready(());
        }
        let Some(deadline) = this.machine.poll_timeout() else { return Poll::Pending };
        ready!(this.timer.poll_until(cx, deadline));
        this.machine.handle_timeout(this.consumer.endpoint.link().now(), &this.consumer.exchange);
        Poll::Ready(())
    }
}

impl<S, B> Future for Dispatch<S, B>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.machine.is_ended() {
            self.as_mut().poll_handler(cx);
        }
        loop {
            // A dead client is noticed by whoever reads from it.
            let _ = ready!(self.as_mut().poll_transmit(cx));
            if let Some(CalleeEvent::Cancelled(why)) = self.as_mut().project().machine.poll_event() {
                tracing::debug!(parent: &self.span, ?why, "request cancelled");
                self.consumer.metrics.cancelled(why);
            }
            if self.machine.is_ended() {
                return Poll::Ready(());
            }
            ready!(self.as_mut().poll_exchange(cx));
        }
    }
}

#[pinned_drop]
impl<S, B> PinnedDrop for Dispatch<S, B>
where
    S: Service<Request<Body>, Response = Response<B>>,
{
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        let started = this.handler.has_started();
        let ran = this.handler.was_called();
        let metrics = &this.consumer.metrics;
        if started {
            metrics.in_flight.decrement(1.0)
        } else {
            metrics.queued.decrement(1.0)
        }
        this.machine.abort(ResetCode::Draining, "the consumer is stopping".to_owned(), ran);
        while let Some(Transmit::Frame { to, payload, .. }) = this.machine.poll_transmit() {
            // Nobody is left to wait for room in the client's queue.
            let _ = this.consumer.endpoint.publish_or_drop(to, None, payload);
        }
    }
}
