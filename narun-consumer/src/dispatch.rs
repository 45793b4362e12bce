//! One request, from its receipt to its response: the handler on one side, the exchange on the other.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use async_nats::Subject;
use http::{Request, Response};
use narun_core::exchange::{Callee, CalleeEvent, Transmit};
use narun_core::frame::{Frame, ResetCode};
use narun_core::{Body, FailureContext, Time};
use narun_nats::body::BodyPart;
use narun_nats::inbox::{Mail, Registration};
use narun_nats::{Link, Outgoing, PublishError, Timer, TokioTimer};
use pin_project::{pin_project, pinned_drop};
use tower_service::Service;
use tracing::Span;

use crate::admission::Place;
use crate::consumer::{Admitted, Consumer};
use crate::error::BoxError;
use crate::handler::{Extent, Handler};
use crate::machine::Machine;
use crate::metrics::Metrics;
use crate::response::{Answer, Encoded, Rest, report, unsendable};

/// How many times in a row an exchange goes round before others get their turn, the client's task among them, which what
/// was published until then waits for in memory; and how many messages it takes in each time.
const ROUNDS: usize = 4;
const BATCH: usize = 64;

/// A future that ends with the exchange, whatever becomes of it.
///
/// Dropped before its end, it tells the gateway that this process is stopping.
#[pin_project(PinnedDrop)]
pub(crate) struct Dispatch<S: Service<Request<Body>, Response = Response<B>>, B> {
    consumer: Arc<Consumer>,
    received: Time,
    machine: Machine,
    #[pin]
    handler: Handler<S, B>,
    context: FailureContext,
    span: Span,
    /// The own token, once there is one, and its subject.
    registration: Option<(Registration<Subject>, Subject)>,
    outgoing: Outgoing,
    #[pin]
    timer: TokioTimer,
    measured: bool,
    /// Whether the response has begun, and whether it goes on after its head.
    answered: bool,
    responds: bool,
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
            handler: Handler::new(service, request, slot, Extent::Beginning(consumer.room())),
            context,
            span,
            registration: None,
            outgoing: Outgoing::default(),
            timer: consumer.endpoint.link().timer(),
            measured: false,
            answered: false,
            responds: false,
            _place: place,
            consumer,
        }
    }

    /// Polls the handler once, in place. True if that was all; otherwise the future is to be spawned.
    pub(crate) fn try_finish(mut self: Pin<&mut Self>) -> bool {
        // No wake-up is lost: a spawned task polls everything again at once.
        let mut cx = Context::from_waker(Waker::noop());
        self.as_mut().poll_handler(&mut cx);
        self.is_ended() && self.poll_transmit(&mut cx).is_ready()
    }

    fn is_ended(self: &mut Pin<&mut Self>) -> bool {
        self.as_mut().project().machine.with(|machine| machine.is_ended())
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
        *this.answered = true;
        let now = endpoint.link().now();
        let answer = Answer::new(outcome, this.context, consumer);
        this.span.record("http.response.status_code", answer.status.as_u16());
        metrics.handled(answer.status, now - *this.received);
        let Encoded { frame, rest } = match answer.response {
            Ok(response) => response,
            Err(problem) => {
                return this.machine.with(|machine| machine.abort(ResetCode::TooLarge, problem, true));
            }
        };
        let Some(Rest { inline, cut, part }) = rest else {
            return this.machine.with(|machine| machine.respond(frame));
        };
        *this.responds = true;
        let config = consumer.streaming();
        let given = this.machine.with(|machine| {
            machine.respond_with_body(now, frame, inline, &config);
            machine.send(cut);
            give(machine, part)
        });
        if !given {
            misfit(metrics);
        }
    }

    /// Takes of the response's body what there is credit for, up to a frame; pending if there is less.
    fn poll_body(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let _entered = this.span.enter();
        let metrics = &this.consumer.metrics;
        while this.machine.with(|machine| machine.wants_data()) {
            match this.handler.as_mut().poll_body(cx) {
                Poll::Pending => {
                    this.machine.with(Callee::uncork);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(part)) => {
                    if !this.machine.with(|machine| give(machine, part)) {
                        misfit(metrics);
                    }
                }
                Poll::Ready(Err(error)) => {
                    report(&error, metrics);
                    metrics.stream_reset("failed");
                    let text = "the response's body broke off".to_owned();
                    this.machine.with(|machine| machine.abort(ResetCode::Internal, text, true));
                }
            }
        }
        this.machine.with(Callee::cork);
        Poll::Ready(())
    }

    /// Lets the user's code run: the handler, then the body that it has answered with. Pending if it waits for something.
    fn run(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.machine.shared().cloned();
        if let Some(shared) = &shared {
            shared.driven_already();
        }
        if !self.answered {
            self.as_mut().poll_handler(cx);
        }
        let ran = if self.responds { self.as_mut().poll_body(cx) } else { Poll::Pending };
        if let Some(shared) = &shared {
            shared.driven_by(cx.waker());
            if shared.is_dropped() {
                shared.with(Callee::stop);
            }
        }
        ran
    }

    /// Publishes what the machine wants published; pending while the client's queue is full.
    fn poll_transmit(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        let this = self.project();
        loop {
            ready!(this.outgoing.poll_ready(cx))?;
            let Some(Transmit::Frame { to, payload, reply }) = this.machine.with(Callee::poll_transmit)
            else {
                return Poll::Ready(Ok(()));
            };
            let endpoint = &this.consumer.endpoint;
            let reply = reply.map(|_| {
                let (_, reply) = this.registration.get_or_insert_with(|| {
                    let mut registration = endpoint.register();
                    let reply = Subject::from(registration.reply(0));
                    (registration, reply)
                });
                reply.clone()
            });
            this.outgoing.send(endpoint.link(), to, reply, payload)?;
        }
    }

    /// Takes in what has come; true if anything has.
    fn take_mail(self: Pin<&mut Self>, cx: &Context<'_>) -> bool {
        let this = self.project();
        let Some((registration, _)) = this.registration else { return false };
        let Consumer { endpoint, exchange, .. } = this.consumer.as_ref();
        let mut taken = 0;
        while taken < BATCH
            && let Poll::Ready(mail) = registration.mailbox().poll_take(cx)
        {
            taken += 1;
            let now = endpoint.link().now();
            match mail {
                Mail::Frame { payload, reply, .. } => {
                    let frame = Frame::decode(&payload, endpoint.limits());
                    this.machine.with(|machine| match frame {
                        Ok(frame) => machine.handle_frame(now, frame, reply),
                        Err(_) => machine.handle_malformed(),
                    });
                }
                Mail::NoResponders { .. } => {
                    this.machine.with(|machine| machine.handle_no_responders(now, exchange));
                }
                Mail::Connection(connection) => {
                    this.machine.with(|machine| machine.handle_connection(now, connection));
                }
            }
        }
        if let Some(shared) = this.machine.shared().filter(|_| taken > 0) {
            // The handler is polled next, whoever else reads is not.
            shared.wake_reader_elsewhere(cx.waker());
        }
        taken > 0
    }

    /// Ready when the machine has something new to say.
    fn poll_exchange(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.as_mut().take_mail(cx) {
            return Poll::Ready(());
        }
        let this = self.project();
        let Some(deadline) = this.machine.with(|machine| machine.poll_timeout()) else {
            return Poll::Pending;
        };
        ready!(this.timer.poll_until(cx, deadline));
        let Consumer { endpoint, exchange, .. } = this.consumer.as_ref();
        this.machine.with(|machine| machine.handle_timeout(endpoint.link().now(), exchange));
        Poll::Ready(())
    }
}

/// Gives the machine a part of the response's body; false if it does not fit.
fn give(machine: &mut Callee<Subject>, part: BodyPart) -> bool {
    let BodyPart { data, end, trailers } = part;
    machine.send(data);
    if end {
        machine.finish(trailers);
    }
    !machine.is_ended()
}

/// Logs and counts trailers that cannot be sent, after what came before them.
fn misfit(metrics: &Metrics) {
    unsendable("the trailers do not fit one frame", metrics);
    metrics.stream_reset("too_large");
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
        // What has come is there when the handler looks.
        self.as_mut().take_mail(cx);
        for _ in 0..ROUNDS {
            let ran = if self.is_ended() { Poll::Pending } else { self.as_mut().run(cx) };
            // A dead client is noticed by whoever reads from it.
            let _ = ready!(self.as_mut().poll_transmit(cx));
            if let Some(CalleeEvent::Cancelled(why)) =
                self.as_mut().project().machine.with(Callee::poll_event)
            {
                tracing::debug!(parent: &self.span, ?why, "request cancelled");
                self.consumer.metrics.cancelled(why, self.responds || self.machine.shared().is_some());
            }
            if self.is_ended() {
                return Poll::Ready(());
            }
            // What was sent has made room, for which nobody wakes this task.
            if ran.is_pending() || !self.as_mut().project().machine.with(|machine| machine.wants_data()) {
                ready!(self.as_mut().poll_exchange(cx));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
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
        let cut_off = this.machine.with(|machine| {
            let open = !machine.is_ended();
            machine.abort(ResetCode::Draining, "the consumer is stopping".to_owned(), ran);
            open
        });
        if let Some(shared) = this.machine.shared() {
            // Whoever reads elsewhere sees that no more will come.
            shared.wake_reader();
        }
        if cut_off && (*this.responds || this.machine.shared().is_some()) {
            metrics.stream_reset("draining");
        }
        while let Some(Transmit::Frame { to, payload, .. }) = this.machine.with(Callee::poll_transmit) {
            // Nobody is left to wait for room in the client's queue.
            let _ = this.consumer.endpoint.publish_or_drop(to, None, payload);
        }
    }
}
