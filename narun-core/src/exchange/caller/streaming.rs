//! The bodies of a caller that do not fit one frame.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

use super::super::FlowConfig;
use super::super::flow::{RETRY, Receiver, Sender};
use super::attempt::Attempt;
use super::bodies::Bodies;
use super::{Caller, CallerEvent, CallerTransmit, encode_reset};
use crate::frame::{Accept, Credit, Data, Reset, ResetCode, ResponseFrame};
use crate::{BodyErrorKind, Failure, FailureKind, Time};

impl<A: Clone + PartialEq> Caller<A> {
    /// Allows a response that is longer than one frame. Without this, such a response is a failure.
    #[must_use]
    pub fn streaming(mut self, flow: Arc<FlowConfig>) -> Self {
        self.allow_streaming(flow);
        self
    }

    /// Allows a response that is longer than one frame from now on.
    pub fn allow_streaming(&mut self, flow: Arc<FlowConfig>) {
        self.flow = Some(flow);
    }

    /// States that the REQUEST carries only the first `inline` bytes of its body: the rest follows with [`Caller::send`].
    #[must_use]
    pub fn with_body(mut self, now: Time, inline: u64, flow: Arc<FlowConfig>) -> Self {
        let mut bodies = Bodies::new(now, &flow);
        bodies.flow.sender = Some(Sender::new(&flow, inline, 0));
        self.bodies = Some(Box::new(bodies));
        self.streaming(flow)
    }

    /// Returns whether there is credit for the next part of the request's body.
    pub fn wants_data(&self) -> bool {
        !self.ended && self.bodies.as_ref().is_some_and(|bodies| bodies.flow.wants_data())
    }

    /// Returns whether the response waits for the HTTP client: the consumer has granted credit for more of the request's
    /// body, and the client has not sent it, although the consumer could be reached.
    pub(super) fn waits_for_client(&self) -> bool {
        !self.has_responded() && self.wants_data() && !self.away && self.unheard_since.is_none()
    }

    /// Returns whether no more of the request's body will be sent. The rest of it can be dropped.
    pub fn is_sent(&self) -> bool {
        self.ended || self.bodies.as_ref().is_none_or(|bodies| bodies.flow.is_sent())
    }

    /// Holds back a part of the request's body that does not fill a frame, while more is [wanted](Caller::wants_data).
    /// Call it if more of the body may be available at once. [`Caller::uncork`] must follow, or the part is never sent.
    pub fn cork(&mut self) {
        if let Some(bodies) = &mut self.bodies {
            bodies.flow.cork();
        }
    }

    /// Ends the effect of [`Caller::cork`], because no more of the body is available for now. Returns whether something
    /// that was held back can be transmitted.
    pub fn uncork(&mut self) -> bool {
        self.bodies.as_mut().is_some_and(|bodies| bodies.flow.uncork())
    }

    /// Adds the next part of the request's body. Call it if [`Caller::wants_data`] returns true; bytes beyond the credit
    /// are queued.
    pub fn send(&mut self, now: Time, data: Bytes) {
        if let Some(sender) = self.sender() {
            sender.push(data);
            self.body_moved(now);
        }
    }

    /// Ends the request's body. The exchange fails if the trailers do not fit one frame.
    pub fn finish(&mut self, now: Time, trailers: Option<HeaderMap>) {
        let Some(sender) = self.sender() else { return };
        if sender.finish(trailers) {
            self.body_moved(now);
        } else {
            let failure = Failure::new(FailureKind::FieldsTooLarge).with_detail("trailers");
            self.fail(failure, ResetCode::TooLarge);
        }
    }

    /// Gives the exchange up, because the request's body broke off or is over a limit. The consumers receive RESET with
    /// `code` and `text`.
    pub fn abort(&mut self, code: ResetCode, text: &str) {
        if self.ended {
            return;
        }
        let consumers: Vec<A> = self.attempts().filter_map(Attempt::consumer).cloned().collect();
        for to in consumers {
            let reset = Reset { code, text: text.to_owned(), ran: true };
            self.transmit(Some(to), reset.encode(), None);
        }
        self.first = Attempt::Over;
        self.others.clear();
        let broken = match code {
            ResetCode::TooLarge => BodyErrorKind::TooLarge,
            _ => BodyErrorKind::Reset,
        };
        self.end(None, code, broken);
    }

    /// Returns the next part of the response's body: the inline bytes first, trailers last, and then `None`.
    ///
    /// Returns `Pending` if no part has arrived; try again after the next frame was handled. Reading grants credit, so
    /// drain [`Caller::poll_transmit`] after it.
    ///
    /// # Errors
    ///
    /// [`BodyErrorKind`] if the body ended too early. Every further call returns the same error.
    pub fn poll_read(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyErrorKind>>> {
        match &mut self.bodies {
            Some(bodies) if bodies.responded => bodies.flow.read(),
            _ => Poll::Pending,
        }
    }

    /// Returns how many bytes of the response's body have arrived and are not read.
    pub fn queued(&self) -> usize {
        self.bodies.as_ref().map_or(0, |bodies| bodies.flow.queued())
    }

    /// Returns whether the frame that met "no responders" was certainly a part of the request's body. Call it for each.
    pub(super) fn has_lost_data(&mut self) -> bool {
        self.bodies.as_mut().is_some_and(|bodies| bodies.bounces.bounced() && bodies.flow.has_sent())
    }

    /// Returns whether `poll_event` has a response, or has returned one, whose body is read with `poll_read`.
    pub(super) fn has_responded(&self) -> bool {
        self.bodies.as_ref().is_some_and(|bodies| bodies.responded)
    }

    /// Returns whether the request may be sent as another attempt. Once a consumer has won, it alone gets the body.
    pub(super) fn is_repeatable(&self) -> bool {
        self.bodies.as_ref().is_none_or(|bodies| bodies.winner.is_none())
    }

    pub(super) fn standing(&self) -> Credit {
        self.bodies.as_ref().map(|bodies| bodies.flow.standing()).unwrap_or_default()
    }

    pub(super) fn on_accept(&mut self, now: Time, attempt: u8, accept: &Accept) {
        if !self.can_win(attempt) {
            return;
        }
        self.win(attempt);
        if let Some(sender) = self.sender() {
            sender.limit(accept.max_payload);
        }
        // ACCEPT does not say how many DATA its sender has sent: none were sent before it.
        self.on_credit(now, attempt, &Credit { offset: accept.credit, stop: false, sent: 0 });
    }

    pub(super) fn on_credit(&mut self, now: Time, attempt: u8, credit: &Credit) {
        // CREDIT stands in for an ACCEPT that was lost.
        if credit.offset > 0 && self.is_repeatable() && self.sender().is_some() && self.can_win(attempt) {
            self.win(attempt);
        }
        let Some(bodies) = &mut self.bodies else {
            if credit.sent > 0 {
                self.fail_out_of_order(ResetCode::Gap);
            }
            return;
        };
        match bodies.flow.credit(credit) {
            Ok(true) => self.body_moved(now),
            // Nothing new: the response to a PROBE.
            Ok(false) => bodies.bounces.answered(),
            Err(code) => self.fail_out_of_order(code),
        }
    }

    pub(super) fn on_data(&mut self, now: Time, data: Data) {
        let Some(bodies) = self.bodies.as_mut().filter(|bodies| bodies.responded) else {
            return self.fail_out_of_order(ResetCode::Gap);
        };
        bodies.clock = now;
        let winner = bodies.winner;
        let received = bodies.flow.data(data);
        let is_complete = bodies.flow.receiver.as_ref().is_some_and(Receiver::is_complete);
        match (received, winner) {
            (Err(code), _) => self.fail_out_of_order(code),
            (Ok(_), Some(winner)) if is_complete => self.end_well(winner, None),
            (Ok(true), _) => self.watch.moved(now),
            (Ok(false), _) => {}
        }
    }

    /// Handles a response that does not end with its head.
    pub(super) fn begin_response(&mut self, now: Time, attempt: u8, mut response: Box<ResponseFrame>) {
        let Some(flow) = self.flow.clone() else {
            let failure =
                Failure::new(FailureKind::BadResponse).with_cause("the response does not fit one frame");
            return self.fail(failure, ResetCode::TooLarge);
        };
        if !self.can_win(attempt) {
            return self.fail_out_of_order(ResetCode::Internal);
        }
        let mut receiver = Receiver::new(&flow, std::mem::take(&mut response.body), self.config.credit);
        receiver.ask();
        let bodies = self.bodies.get_or_insert_with(|| Box::new(Bodies::new(now, &flow)));
        bodies.flow.receiver = Some(receiver);
        (bodies.responded, bodies.clock) = (true, now);
        self.win(attempt);
        self.deadline = self.total.unwrap_or(Time::MAX);
        if let Some(sender) = self.sender() {
            sender.limit(response.head.max_payload);
            sender.credit(response.head.credit);
        }
        self.watch.moved(now);
        self.event = Some(CallerEvent::Response(response));
    }

    /// Returns the next DATA or CREDIT to publish.
    pub(super) fn poll_bodies(&mut self) -> Option<CallerTransmit<A>> {
        let bodies = self.bodies.as_mut().filter(|_| !self.ended && self.unheard_since.is_none())?;
        let attempt = bodies.winner?;
        let payload = match bodies.flow.poll_grant() {
            Some(_) => {
                bodies.bounces.sent();
                bodies.flow.standing().encode()
            }
            None => bodies.flow.poll_data()?,
        };
        let to = self.attempt(attempt)?.consumer()?.clone();
        Some(CallerTransmit::Frame { to, payload, reply: Some(attempt) })
    }

    pub(super) fn poll_bodies_timeout(&self) -> Option<Time> {
        let idle = self.idle().map(|idle| self.watch.silent_at(idle));
        let starved = self.bodies.as_ref().filter(|bodies| bodies.flow.is_starved());
        idle.into_iter().chain(starved.map(|bodies| bodies.clock + RETRY)).min()
    }

    /// Returns whether no frame has arrived for too long.
    pub(super) fn is_idle(&self, now: Time) -> bool {
        self.idle().is_some_and(|idle| self.watch.silence(now) >= idle)
    }

    /// Returns the time without a frame after which the exchange fails, or `None` if it is unlimited for now.
    fn idle(&self) -> Option<Duration> {
        match &self.bodies {
            Some(bodies) if bodies.responded => Some(bodies.idle),
            _ => self.config.idle,
        }
    }

    pub(super) fn retry_bodies(&mut self, now: Time) {
        if let Some(bodies) = &mut self.bodies {
            if bodies.flow.is_starved() && bodies.clock + RETRY <= now {
                bodies.flow.retry();
            }
            bodies.clock = now;
        }
    }

    /// Returns whether this attempt may win: no other attempt has won, and its consumer can be addressed.
    fn can_win(&self, attempt: u8) -> bool {
        let winner = self.bodies.as_ref().and_then(|bodies| bodies.winner);
        winner.is_none_or(|winner| winner == attempt)
            && self.attempt(attempt).is_some_and(|attempt| attempt.consumer().is_some())
    }

    /// Makes this attempt the winner. The consumers of the other attempts receive RESET(cancel).
    fn win(&mut self, attempt: u8) {
        let Some(bodies) = &mut self.bodies else { return };
        if bodies.winner.replace(attempt).is_some() {
            return;
        }
        (self.silence_at, self.resend_at) = (None, None);
        for number in (0..=u8::MAX).take(self.others.len() + 1).filter(|number| *number != attempt) {
            let Some(state) = self.attempt_mut(number) else { continue };
            if let Attempt::Taken { by } = std::mem::replace(state, Attempt::Over) {
                self.transmit(by, encode_reset(ResetCode::Cancel), None);
            }
        }
    }

    /// Notes that the request's body makes progress, so that the response's head may take longer.
    fn body_moved(&mut self, now: Time) {
        if self.unheard_since.is_none() {
            self.watch.moved(now);
        }
        if !self.has_responded() {
            let deadline = now + self.config.head_timeout;
            self.deadline = self.total.map_or(deadline, |total| total.min(deadline));
        }
    }

    fn sender(&mut self) -> Option<&mut Sender> {
        self.bodies.as_mut().filter(|_| !self.ended)?.flow.sender.as_mut()
    }
}

#[cfg(test)]
mod tests;
