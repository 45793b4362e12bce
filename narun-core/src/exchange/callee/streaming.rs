//! The bodies of a callee that do not fit one frame.

use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::super::flow::{RETRY, Receiver, Sender};
use super::bodies::Bodies;
use super::{Callee, CalleeTransmit, Cancelled};
use crate::frame::{Credit, Data, Frame, ResetCode, encode_probe};
use crate::{BodyErrorKind, Time};

/// Time without any frame of the gateway after which it gets a PROBE although the callee does not wait for it. A gateway
/// sends PROBE every 10 s itself.
const QUIET: Duration = Duration::from_secs(15);

impl<A: Clone + PartialEq> Callee<A> {
    /// States that the REQUEST carries only `inline`, the first bytes of its body: the rest follows as DATA.
    ///
    /// `head_timeout` is the time until the response's head; it starts again whenever the body makes progress.
    #[must_use]
    pub fn with_body(mut self, now: Time, head_timeout: Option<Duration>, inline: Bytes) -> Self {
        let config = &self.config;
        let mut bodies = Bodies::new(now, &config.flow);
        bodies.flow.receiver = Some(Receiver::new(&config.flow, inline, 0));
        bodies.head_timeout = head_timeout;
        bodies.accept.instance.clone_from(&config.instance);
        bodies.accept.max_payload = self.own_max_payload;
        self.bodies = Some(Box::new(bodies));
        self
    }

    /// Responds with this encoded RESPONSE, which has the first `inline` bytes of a body that goes on.
    pub fn respond_with_body(&mut self, now: Time, response: Bytes, inline: u64) {
        if self.ended || self.has_responded() {
            return;
        }
        let bodies = self.bodies.get_or_insert_with(|| Box::new(Bodies::new(now, &self.config.flow)));
        let mut sender = Sender::new(&self.config.flow, inline, self.credit);
        sender.limit(self.own_max_payload);
        sender.limit(self.max_payload);
        bodies.flow.sender = Some(sender);
        (bodies.responded, bodies.response) = (true, Some(response.clone()));
        bodies.begin(now);
        self.deadline = self.total;
        if self.unheard_since.is_none() && !self.doubtful {
            self.working_at = Time::MAX;
        }
        self.transmit(self.gateway.clone(), response, true);
        self.bounces.asked();
    }

    /// Returns whether there is credit for the next part of the response's body.
    pub fn wants_data(&self) -> bool {
        !self.ended && self.bodies.as_ref().is_some_and(|bodies| bodies.flow.wants_data())
    }

    /// Holds back a part of the response's body that does not fill a frame, while more is [wanted](Callee::wants_data).
    /// Call it if more of the body may be available at once. [`Callee::uncork`] must follow, or the part is never sent.
    pub fn cork(&mut self) {
        if let Some(bodies) = &mut self.bodies {
            bodies.flow.cork();
        }
    }

    /// Ends the effect of [`Callee::cork`], because no more of the body is available for now. Returns whether something
    /// that was held back can be transmitted.
    pub fn uncork(&mut self) -> bool {
        self.bodies.as_mut().is_some_and(|bodies| bodies.flow.uncork())
    }

    /// Adds the next part of the response's body. Call it if [`Callee::wants_data`] returns true; bytes beyond the credit
    /// are queued.
    pub fn send(&mut self, _now: Time, data: Bytes) {
        if let Some(sender) = self.sender() {
            sender.push(data);
        }
    }

    /// Ends the response's body. The exchange ends once all of it has been transmitted. It is aborted if the trailers do
    /// not fit one frame.
    pub fn finish(&mut self, _now: Time, trailers: Option<HeaderMap>) {
        let Some(sender) = self.sender() else { return };
        if !sender.finish(trailers) {
            self.abort(ResetCode::TooLarge, "the trailers do not fit one frame", true);
        }
    }

    /// Returns the next part of the request's body: the inline bytes first, trailers last, and then `None`.
    ///
    /// Returns `Pending` if no part has arrived; try again after the next frame was handled. Reading grants credit, so
    /// drain [`Callee::poll_transmit`] after it.
    ///
    /// # Errors
    ///
    /// [`BodyErrorKind`] if the body ended too early. Every further call returns the same error.
    pub fn poll_read(&mut self) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyErrorKind>>> {
        self.bodies.as_mut().map_or(Poll::Ready(None), |bodies| bodies.flow.read())
    }

    /// Discards the rest of the request's body. If the gateway may be sending it, it receives CREDIT with `stop`.
    pub fn stop(&mut self) {
        let Some(bodies) = self.bodies.as_mut().filter(|_| !self.ended) else { return };
        if bodies.flow.receiver.as_mut().is_some_and(Receiver::stop) {
            let stop = bodies.flow.standing().encode();
            self.transmit(self.gateway.clone(), stop, true);
        }
    }

    /// Returns how many bytes of the request's body have arrived and are not read.
    pub fn queued(&self) -> usize {
        self.bodies.as_ref().map_or(0, |bodies| bodies.flow.queued())
    }

    /// Begins to wait until the gateway has received this complete RESPONSE.
    pub(super) fn begin_to_confirm(&mut self, now: Time, response: Bytes) {
        let bodies = self.bodies.get_or_insert_with(|| Box::new(Bodies::new(now, &self.config.flow)));
        bodies.flow.close(BodyErrorKind::Reset);
        bodies.watch.at = None;
        (bodies.responded, bodies.response) = (true, Some(response));
        bodies.confirm_until = Some(now + self.config.grace);
        self.working_at = now + self.config.working_after;
        self.call(true);
    }

    /// Sends a complete response again. A gateway that has received it does not know the exchange any more, so it responds
    /// to the PROBE with RESET(gone).
    pub(super) fn confirm(&mut self, now: Time) {
        let until = self.bodies.as_ref().and_then(|bodies| bodies.confirm_until);
        if until.is_none_or(|until| until <= now) {
            return self.end(BodyErrorKind::Reset);
        }
        self.working_at = now + self.config.working_after * 2;
        self.call(true);
    }

    /// Returns whether the response is complete, and sent again until the gateway has received it.
    pub(super) fn is_confirming(&self) -> bool {
        self.bodies.as_ref().is_some_and(|bodies| bodies.confirm_until.is_some())
    }

    /// Continues after the connection was restored. Returns false if no frame of the gateway is expected.
    pub(super) fn resume_bodies(&mut self, now: Time) -> bool {
        let Some(bodies) = &mut self.bodies else { return false };
        if let Some(until) = &mut bodies.confirm_until {
            *until = now + self.config.grace;
            // All that is still to be sent is made again.
            self.outbox.clear();
            return true;
        }
        if bodies.watch.at.is_some() {
            bodies.watch.probed(now);
        }
        bodies.watch.at.is_some()
    }

    /// Returns whether the handler waits for a part of the request's body that it has granted credit for.
    pub(super) fn waits_for_client(&self) -> bool {
        let receiver = self.bodies.as_ref().and_then(|bodies| bodies.flow.receiver.as_ref());
        !self.has_responded() && receiver.is_some_and(Receiver::is_waiting)
    }

    pub(super) fn has_responded(&self) -> bool {
        self.bodies.as_ref().is_some_and(|bodies| bodies.responded)
    }

    /// Handles a frame of the gateway.
    pub(super) fn on_frame(&mut self, now: Time, frame: Frame) {
        (self.unheard_since, self.unheard) = (None, false);
        if let Some(bodies) = &mut self.bodies {
            bodies.watch.heard(now);
            bodies.clock = now;
        }
        match frame {
            Frame::Probe => self.transmit(self.gateway.clone(), self.standing().encode(), true),
            Frame::Data(data) => self.on_data(now, data),
            Frame::Credit(credit) => self.on_credit(now, &credit),
            _ => {}
        }
    }

    fn on_data(&mut self, now: Time, data: Data) {
        // If the REQUEST had the whole body, further parts are invalid and would not be read: they are ignored.
        let Some(bodies) = self.bodies.as_mut().filter(|bodies| bodies.flow.receiver.is_some()) else {
            return;
        };
        match bodies.flow.data(data) {
            Err(code) => self.break_off(code, Cancelled::Broken),
            Ok(false) => {}
            Ok(true) => {
                bodies.watch.moved(now);
                if let Some(head_timeout) = bodies.head_timeout.filter(|_| !bodies.responded) {
                    let deadline = now + head_timeout;
                    self.deadline = Some(self.total.map_or(deadline, |total| total.min(deadline)));
                }
            }
        }
    }

    fn on_credit(&mut self, now: Time, credit: &Credit) {
        let Some(bodies) = &mut self.bodies else { return };
        if bodies.confirm_until.is_some() {
            // The gateway still waits: the response was lost.
            self.working_at = self.working_at.min(now + self.config.working_after);
            return;
        }
        // A gateway grants credit once it has the response.
        if credit.offset > 0 && bodies.response.take().is_some() {
            self.bounces.answered();
        }
        match bodies.flow.credit(credit) {
            Err(code) => self.break_off(code, Cancelled::Broken),
            // An exchange whose response is not wanted has no purpose.
            Ok(true) if credit.stop => self.cancelled(Cancelled::ByCaller),
            Ok(true) => bodies.watch.moved(now),
            // Nothing new: the response to a PROBE.
            Ok(false) => self.bounces.answered(),
        }
    }

    /// Returns the next ACCEPT, DATA or CREDIT to publish.
    pub(super) fn poll_bodies(&mut self) -> Option<CalleeTransmit<A>> {
        let is_heard = self.unheard_since.is_none();
        let bodies = self.bodies.as_mut().filter(|_| !self.ended && is_heard)?;
        let payload = match bodies.flow.poll_grant() {
            Some(credit) if !bodies.responded && bodies.watch.at.is_none() => {
                bodies.begin(bodies.clock);
                bodies.accept.credit = credit;
                self.bounces.sent();
                bodies.accept.encode()
            }
            Some(_) => {
                self.bounces.sent();
                bodies.flow.standing().encode()
            }
            None => bodies.flow.poll_data()?,
        };
        if bodies.responded && bodies.flow.is_sent() {
            self.complete();
        }
        Some(CalleeTransmit { to: self.gateway.clone(), payload, reply: true })
    }

    pub(super) fn poll_bodies_timeout(&self) -> Option<Time> {
        let bodies = self.bodies.as_ref()?;
        let idle = bodies.watch.at.map(|_| bodies.watch.silent_at(bodies.idle));
        let retry = bodies.flow.is_starved().then(|| bodies.clock + RETRY);
        [bodies.watch.at, idle, retry].into_iter().flatten().min()
    }

    pub(super) fn handle_bodies_timeout(&mut self, now: Time) {
        let Some(bodies) = &mut self.bodies else { return };
        if bodies.flow.is_starved() && bodies.clock + RETRY <= now {
            bodies.flow.retry();
        }
        bodies.clock = now;
        if bodies.watch.at.is_some() && bodies.watch.silence(now) >= bodies.idle {
            return self.break_off(ResetCode::Idle, Cancelled::Idle);
        }
        if bodies.watch.is_due(now) {
            if self.away {
                bodies.watch.put_off(now);
            } else if bodies.flow.is_waiting() || bodies.watch.silence(now) >= QUIET {
                bodies.watch.probed(now);
                match self.doubtful {
                    true => self.call(true),
                    false => self.probe(),
                }
            } else {
                bodies.watch.put_off(now);
            }
        }
    }

    pub(super) fn probe(&mut self) {
        self.transmit(self.gateway.clone(), encode_probe(), true);
        self.bounces.asked();
    }

    fn sender(&mut self) -> Option<&mut Sender> {
        self.bodies.as_mut().filter(|_| !self.ended)?.flow.sender.as_mut()
    }
}

#[cfg(test)]
mod tests;
