use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;

use super::call::undeliverable;
use crate::inbox::{Endpoint, Mail, Registration};
use crate::jetstream::ack;
use crate::jetstream::header;
use crate::outgoing::Outgoing;
use crate::{Link, Timer};
use narun_core::exchange::{Submission, SubmissionConfig, SubmissionEvent};
use narun_core::frame::{Frame, ResponseFrame};
use narun_core::{ExchangeId, Failure};

/// The token to which answers come; the first, which is told about the connection too.
const ANSWER: u8 = 0;
/// The token to which the stream's confirmations come.
const ACKS: u8 = 1;

/// A durable request.
#[derive(Debug)]
pub struct Task<'a, A> {
    /// The app's subject, which the stream captures.
    pub to: A,
    /// The stream's name.
    pub stream: &'a str,
    /// The id, by which the stream knows duplicates.
    pub id: ExchangeId,
    /// The encoded REQUEST.
    pub frame: Bytes,
    /// After what time it is not run any more.
    pub expiry: Option<Duration>,
    /// Whether the answer is to come here.
    pub answer: bool,
}

/// One durable exchange as the gateway sees it.
///
/// Dropped, it leaves nothing behind here, and cancels nothing there: if the stream has the request, it is done.
pub struct Submit<L: Link> {
    endpoint: Arc<Endpoint<L>>,
    to: L::Address,
    headers: L::Headers,
    frame: Bytes,
    machine: Submission,
    registration: Registration<L::Address>,
    timer: Pin<Box<L::Timer>>,
    outgoing: Outgoing,
}

impl<L: Link> Submit<L> {
    /// Publishes `task` when polled.
    pub fn new(endpoint: Arc<Endpoint<L>>, task: Task<'_, L::Address>, config: SubmissionConfig) -> Self {
        let machine = Submission::new(endpoint.link().now(), task.id, config);
        let mut registration = endpoint.register();
        // Opened even if no answer comes there: it is also how the state of the connection is learnt.
        let inbox = registration.reply(ANSWER);
        let (id, expiry) = (task.id.to_string(), task.expiry.map(|expiry| expiry.as_millis().to_string()));
        let mut fields = vec![(header::MESSAGE_ID, id.as_str()), (header::EXPECTED_STREAM, task.stream)];
        fields.extend(task.answer.then_some((header::INBOX, inbox.as_str())));
        fields.extend(expiry.as_deref().map(|expiry| (header::EXPIRY, expiry)));
        let headers = L::headers(&fields);
        let timer = Box::pin(endpoint.link().timer());
        let outgoing = Outgoing::default();
        Self { endpoint, to: task.to, headers, frame: task.frame, machine, registration, timer, outgoing }
    }

    /// Completes once the stream has the request, and says whether it had it before (see
    /// [`SubmissionEvent::Accepted`]); or once it is clear that it has not, or is not known to have it in time.
    ///
    /// Cancel safe. Not to be called again after it has completed.
    pub async fn accepted(&mut self) -> Result<bool, Failure> {
        poll_fn(|cx| match ready!(self.poll_event(cx)) {
            SubmissionEvent::Accepted { duplicate } => Poll::Ready(Ok(duplicate)),
            SubmissionEvent::Failed(failure) => Poll::Ready(Err(failure)),
            // Never the first event.
            SubmissionEvent::Response(_) => Poll::Ready(Ok(false)),
        })
        .await
    }

    /// Completes with the answer, or once it is late; to be called after [`Submit::accepted`] was successful.
    ///
    /// Cancel safe: it can be called again, until it has completed.
    pub async fn answer(&mut self) -> Result<Box<ResponseFrame>, Failure> {
        poll_fn(|cx| {
            loop {
                match ready!(self.poll_event(cx)) {
                    SubmissionEvent::Accepted { .. } => {}
                    SubmissionEvent::Response(response) => return Poll::Ready(Ok(response)),
                    SubmissionEvent::Failed(failure) => return Poll::Ready(Err(failure)),
                }
            }
        })
        .await
    }

    /// How often the request was published.
    pub const fn published(&self) -> u32 {
        self.machine.published()
    }

    /// Whether the stream may have the request.
    pub const fn may_be_stored(&self) -> bool {
        self.machine.may_be_stored()
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<SubmissionEvent> {
        loop {
            self.poll_transmit(cx);
            if let Some(event) = self.machine.poll_event() {
                return Poll::Ready(event);
            }
            if let Poll::Ready(mail) = self.registration.mailbox().poll_take(cx) {
                self.take(mail);
                continue;
            }
            let Some(deadline) = self.machine.poll_timeout() else { return Poll::Pending };
            ready!(self.timer.as_mut().poll_until(cx, deadline));
            self.machine.handle_timeout(self.endpoint.link().now());
        }
    }

    /// Publishes the request if it is due and there is room in the client's queue.
    fn poll_transmit(&mut self, cx: &mut Context<'_>) {
        let link = self.endpoint.link();
        loop {
            let sent = match self.outgoing.poll_ready(cx) {
                Poll::Pending => return,
                Poll::Ready(Err(error)) => Err(error),
                Poll::Ready(Ok(())) if !self.machine.poll_transmit(link.now()) => return,
                Poll::Ready(Ok(())) => {
                    let acks = L::address(self.registration.reply(ACKS));
                    let (to, frame) = (self.to.clone(), self.frame.clone());
                    self.outgoing.send_with_headers(link, to, Some(acks), Some(&self.headers), frame)
                }
            };
            if let Err(error) = sent {
                self.machine.handle_unsent(undeliverable(error));
            }
        }
    }

    fn take(&mut self, mail: Mail<L::Address>) {
        match mail {
            Mail::Frame { attempt: ACKS, payload, .. } => {
                // What is no confirmation is as good as none.
                if let Some(ack) = ack::read(&payload) {
                    self.machine.handle_ack(ack);
                }
            }
            Mail::Frame { payload, .. } => match Frame::decode(&payload, self.endpoint.limits()) {
                Ok(frame) => self.machine.handle_frame(frame),
                Err(error) => self.machine.handle_malformed(&error),
            },
            Mail::NoResponders { attempt: ACKS } => self.machine.handle_no_responders(),
            // Nothing is published with that token as reply.
            Mail::NoResponders { .. } => {}
            Mail::Connection(connection) => {
                self.machine.handle_connection(self.endpoint.link().now(), connection);
            }
        }
    }
}

impl<L: Link> fmt::Debug for Submit<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submit").field("machine", &self.machine).finish_non_exhaustive()
    }
}
