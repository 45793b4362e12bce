use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use pin_project::{pin_project, pinned_drop};

use super::{Conversation, IncomingResponse};
use crate::inbox::{Endpoint, Mail, Registration};
use crate::outgoing::Outgoing;
use crate::{Link, PublishError, Timer};
use narun_core::exchange::{Caller, CallerConfig, CallerEvent, FlowConfig, Transmit};
use narun_core::frame::{Frame, RequestHead, ResponseFrame};
use narun_core::{Failure, FailureKind, Time};

/// One exchange as the gateway sees it: a future of the response.
///
/// Cancel safe: dropped, it tells the consumer, if that has shown itself, and leaves nothing behind.
#[pin_project(PinnedDrop)]
pub struct Call<L: Link> {
    endpoint: Arc<Endpoint<L>>,
    to: L::Address,
    frame: Bytes,
    machine: Caller<L::Address>,
    registration: Registration<L::Address>,
    #[pin]
    timer: L::Timer,
    outgoing: Outgoing,
    attempts: u8,
}

impl<L: Link> Call<L> {
    /// Sends `frame`, an encoded REQUEST, to the subject `to` when polled.
    pub fn new(
        endpoint: Arc<Endpoint<L>>,
        to: L::Address,
        frame: Bytes,
        config: CallerConfig,
        seed: u64,
    ) -> Self {
        let machine = Caller::new(endpoint.link().now(), config, seed);
        let registration = endpoint.register();
        let timer = endpoint.link().timer();
        Self { endpoint, to, frame, machine, registration, timer, outgoing: Outgoing::default(), attempts: 0 }
    }

    /// The same call, whose response may be longer than one frame: see [`Call::converse`].
    #[must_use]
    pub fn streaming(mut self, flow: Arc<FlowConfig>) -> Self {
        self.machine.allow_streaming(flow);
        self
    }

    /// Goes on with a response that does not end with its head, which this future has given.
    ///
    /// The conversation is to be spawned; the head is not given again. This future is of no use any more. The type of the
    /// request's body is the caller's choice, as the request had all of it.
    pub fn converse<B>(self: Pin<&mut Self>) -> (Conversation<L, B>, IncomingResponse<L>)
    where
        B: http_body::Body<Error = Failure>,
    {
        let this = self.project();
        let over = Caller::new(Time::ZERO, CallerConfig::default(), 0);
        let machine = std::mem::replace(this.machine, over);
        let registration = std::mem::replace(this.registration, this.endpoint.register());
        let (to, frame) = (this.to.clone(), std::mem::take(this.frame));
        // A CREDIT may still wait for room in the client's queue.
        let outgoing = std::mem::take(this.outgoing);
        let (conversation, incoming) =
            Conversation::new(this.endpoint.clone(), to, frame, machine, registration, None);
        (conversation.after(outgoing), incoming)
    }

    /// How often the request has been sent.
    pub const fn attempts(&self) -> u8 {
        self.attempts
    }
}

impl<L: Link> Future for Call<L> {
    type Output = Result<Box<ResponseFrame>, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            if let Poll::Ready(Err(error)) = self.as_mut().poll_transmit(cx) {
                return Poll::Ready(Err(undeliverable(error)));
            }
            let this = self.as_mut().project();
            match this.machine.poll_event() {
                Some(CallerEvent::Response(response)) => return Poll::Ready(Ok(response)),
                Some(CallerEvent::Failed(failure)) => return Poll::Ready(Err(failure)),
                None => {}
            }
            if let Poll::Ready(mail) = this.registration.mailbox().poll_take(cx) {
                self.as_mut().take(mail);
                continue;
            }
            let Some(deadline) = this.machine.poll_timeout() else { return Poll::Pending };
            ready!(this.timer.poll_until(cx, deadline));
            this.machine.handle_timeout(this.endpoint.link().now());
        }
    }
}

impl<L: Link> Call<L> {
    /// Publishes what the machine wants published; pending while the client's queue is full.
    fn poll_transmit(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        let this = self.project();
        loop {
            ready!(this.outgoing.poll_ready(cx))?;
            let Some(transmit) = this.machine.poll_transmit() else { return Poll::Ready(Ok(())) };
            let (to, reply, payload) = match transmit {
                Transmit::Request { attempt } => {
                    *this.attempts = attempt.saturating_add(1);
                    let payload = match attempt {
                        0 => this.frame.clone(),
                        _ => RequestHead::with_attempt(this.frame, attempt)
                            .unwrap_or_else(|_| this.frame.clone()),
                    };
                    (this.to.clone(), Some(attempt), payload)
                }
                Transmit::Frame { to, payload, reply } => (to, reply, payload),
            };
            let reply = reply.map(|attempt| L::address(this.registration.reply(attempt)));
            this.outgoing.send(this.endpoint.link(), to, reply, payload)?;
        }
    }

    fn take(self: Pin<&mut Self>, mail: Mail<L::Address>) {
        let this = self.project();
        let now = this.endpoint.link().now();
        match mail {
            Mail::Frame { attempt, payload, reply } => {
                match Frame::decode(&payload, this.endpoint.limits()) {
                    Ok(frame) => this.machine.handle_frame(now, attempt, frame, reply),
                    Err(error) => this.machine.handle_malformed(attempt, &error),
                }
            }
            Mail::NoResponders { attempt } => this.machine.handle_no_responders(now, attempt),
            Mail::Connection(connection) => this.machine.handle_connection(now, connection),
        }
    }
}

pub(super) fn undeliverable(error: PublishError) -> Failure {
    match error {
        PublishError::TooLarge => FailureKind::ContentTooLarge.into(),
        PublishError::Full | PublishError::Closed => FailureKind::Disconnected.into(),
    }
}

#[pinned_drop]
impl<L: Link> PinnedDrop for Call<L> {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        this.machine.cancel();
        while let Some(Transmit::Frame { to, payload, .. }) = this.machine.poll_transmit() {
            // Nobody is left to wait: a consumer that does not hear it meets nobody with its next frame.
            let _ = this.endpoint.publish_or_drop(to, None, payload);
        }
    }
}

impl<L: Link> fmt::Debug for Call<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("machine", &self.machine).finish_non_exhaustive()
    }
}
