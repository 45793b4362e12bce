use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use pin_project::{pin_project, pinned_drop};

use super::call::undeliverable;
use super::{Incoming, Shared};
use crate::inbox::{Endpoint, Mail, Registration};
use crate::outgoing::Outgoing;
use crate::{Link, PublishError, Timer};
use narun_core::exchange::{Caller, CallerEvent, Transmit};
use narun_core::frame::{Frame, RequestHead, ResetCode, ResponseFrame};
use narun_core::{Failure, FailureKind};

/// How many times in a row it goes round before others get their turn: what it has published by then waits in memory for
/// the client's task.
const ROUNDS: usize = 4;

/// How many messages are taken in each time.
const BATCH: usize = 64;

/// The head of a response, or why there is none.
pub type Head = Result<Box<ResponseFrame>, Failure>;

/// The machine of the gateway's side, shared with the reader of its response.
type SharedCaller<L> = Shared<Caller<<L as Link>::Address>, Head>;

/// The response to an exchange that streams: [`Incoming::poll_head`] first, then the body.
pub type IncomingResponse<L> = Incoming<Caller<<L as Link>::Address>, Head>;

/// An exchange as the gateway drives it whose bodies do not fit one frame each: a future to be spawned, which ends with it.
///
/// Its own task keeps it going whatever the HTTP client does with the response: it sends the request's body, answers
/// the other side's PROBE, keeps to the time limits. It ends when the response has come whole, when it fails, or when
/// the [`IncomingResponse`] is dropped. Dropped before, it tells the consumer, and the response breaks off.
#[pin_project(PinnedDrop)]
pub struct Conversation<L: Link, B> {
    endpoint: Arc<Endpoint<L>>,
    shared: Arc<SharedCaller<L>>,
    registration: Registration<L::Address>,
    /// The app's subject and the encoded REQUEST, and the own token of each attempt.
    to: L::Address,
    frame: Bytes,
    replies: Vec<L::Address>,
    #[pin]
    body: Option<B>,
    #[pin]
    timer: L::Timer,
    outgoing: Outgoing,
}

impl<L: Link, B> Conversation<L, B>
where
    B: http_body::Body<Error = Failure>,
{
    /// Sends `frame`, an encoded REQUEST, to the subject `to`, then `body`, which follows its inline bytes, as far as the
    /// machine was made for it. If that breaks off, its error is the head.
    pub fn new(
        endpoint: Arc<Endpoint<L>>,
        to: L::Address,
        frame: Bytes,
        machine: Caller<L::Address>,
        registration: Registration<L::Address>,
        body: Option<B>,
    ) -> (Self, IncomingResponse<L>) {
        let (shared, incoming) = Shared::new(machine);
        let timer = endpoint.link().timer();
        let (replies, outgoing) = (Vec::new(), Outgoing::default());
        (Self { endpoint, shared, registration, to, frame, replies, body, timer, outgoing }, incoming)
    }

    /// The same, which publishes what still waits to be before anything else.
    #[must_use]
    pub(super) fn after(mut self, outgoing: Outgoing) -> Self {
        self.outgoing = outgoing;
        self
    }

    /// Publishes what the machine wants published; pending while the client's queue is full.
    fn poll_transmit(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        let this = self.project();
        loop {
            ready!(this.outgoing.poll_ready(cx))?;
            let Some(transmit) = this.shared.with(Caller::poll_transmit) else { return Poll::Ready(Ok(())) };
            let (to, reply, payload) = match transmit {
                Transmit::Request { attempt: 0 } => (this.to.clone(), Some(0), this.frame.clone()),
                Transmit::Request { attempt } => {
                    let again = RequestHead::with_attempt(this.frame, attempt);
                    (this.to.clone(), Some(attempt), again.unwrap_or_else(|_| this.frame.clone()))
                }
                Transmit::Frame { to, payload, reply } => (to, reply, payload),
            };
            let reply = reply.map(|attempt| {
                for attempt in (0..=attempt).skip(this.replies.len()) {
                    this.replies.push(L::address(this.registration.reply(attempt)));
                }
                this.replies[usize::from(attempt)].clone()
            });
            this.outgoing.send(this.endpoint.link(), to, reply, payload)?;
        }
    }

    /// Tells the reader what has come of it.
    fn tell(self: Pin<&mut Self>) {
        let this = self.project();
        match this.shared.with(Caller::poll_event) {
            Some(CallerEvent::Response(response)) => this.shared.give_head(Ok(response)),
            Some(CallerEvent::Failed(failure)) => this.shared.give_head(Err(failure)),
            None => this.shared.wake_reader(),
        }
    }

    /// Takes in what has come; true if anything has.
    fn take_mail(self: Pin<&mut Self>, cx: &Context<'_>) -> bool {
        let this = self.project();
        for taken in 0..BATCH {
            let Poll::Ready(mail) = this.registration.mailbox().poll_take(cx) else { return taken > 0 };
            let now = this.endpoint.link().now();
            match mail {
                Mail::Frame { attempt, payload, reply } => {
                    let frame = Frame::decode(&payload, this.endpoint.limits());
                    this.shared.with(|machine| match frame {
                        Ok(frame) => machine.handle_frame(now, attempt, frame, reply),
                        Err(error) => machine.handle_malformed(attempt, &error),
                    });
                }
                Mail::NoResponders { attempt } => {
                    this.shared.with(|machine| machine.handle_no_responders(now, attempt));
                }
                Mail::Connection(connection) => {
                    this.shared.with(|machine| machine.handle_connection(now, connection));
                }
            }
        }
        true
    }

    /// Takes of the request's body what there is credit for and what is there; true if that was anything.
    fn poll_body(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let mut this = self.project();
        let mut taken = false;
        loop {
            let (wanted, over) = this.shared.with(|machine| (machine.wants_data(), machine.is_sent()));
            if over && this.body.is_some() {
                this.body.set(None);
            }
            let Some(mut body) = this.body.as_mut().as_pin_mut().filter(|_| wanted) else {
                this.shared.with(Caller::cork);
                return taken;
            };
            let Poll::Ready(frame) = body.as_mut().poll_frame(cx) else {
                return this.shared.with(Caller::uncork) || taken;
            };
            let now = this.endpoint.link().now();
            let ended = body.is_end_stream();
            taken = true;
            let frame = match frame {
                Some(Err(failure)) => {
                    let code = reset_code(failure.kind());
                    this.shared.with(|machine| machine.abort(code, "the request's body broke off"));
                    this.shared.give_head(Err(failure));
                    return true;
                }
                Some(Ok(frame)) => Some(frame.into_data()),
                None => None,
            };
            this.shared.with(|machine| match frame {
                Some(Ok(mut data)) => {
                    machine.send(now, data.copy_to_bytes(data.remaining()));
                    if ended {
                        machine.finish(now, None);
                    }
                }
                Some(Err(frame)) => machine.finish(now, frame.into_trailers().ok()),
                None => machine.finish(now, None),
            });
        }
    }
}

/// What the consumer is told when the request's body fails.
const fn reset_code(kind: FailureKind) -> ResetCode {
    match kind {
        FailureKind::ContentTooLarge => ResetCode::TooLarge,
        _ => ResetCode::Cancel,
    }
}

impl<L: Link, B: http_body::Body<Error = Failure>> Future for Conversation<L, B> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.driven_by(cx.waker());
        for _ in 0..ROUNDS {
            if self.shared.is_dropped() {
                self.shared.with(Caller::cancel);
            }
            if let Err(error) = ready!(self.as_mut().poll_transmit(cx)) {
                self.shared.with(Caller::cancel);
                self.shared.give_head(Err(undeliverable(error)));
                return Poll::Ready(());
            }
            self.as_mut().tell();
            if self.shared.with(|machine| machine.is_ended()) {
                return Poll::Ready(());
            }
            let came = self.as_mut().take_mail(cx);
            if self.as_mut().poll_body(cx) || came {
                continue;
            }
            let this = self.as_mut().project();
            let Some(deadline) = this.shared.with(|machine| machine.poll_timeout()) else { continue };
            ready!(this.timer.poll_until(cx, deadline));
            let now = this.endpoint.link().now();
            this.shared.with(|machine| machine.handle_timeout(now));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[pinned_drop]
impl<L: Link, B> PinnedDrop for Conversation<L, B> {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        let open = this.shared.with(|machine| {
            let open = !machine.is_ended();
            machine.cancel();
            open
        });
        while let Some(Transmit::Frame { to, payload, .. }) = this.shared.with(Caller::poll_transmit) {
            // Nobody is left to wait for room in the client's queue.
            let _ = this.endpoint.publish_or_drop(to, None, payload);
        }
        if open {
            this.shared.give_head(Err(FailureKind::Disconnected.into()));
        }
    }
}

impl<L: Link, B> fmt::Debug for Conversation<L, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
