//! What a callee does about bodies that do not fit one frame.

use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::super::flow::{Flow, RETRY, Receiver, Sender, Watch};
use super::super::{Connection, FlowConfig, Transmit};
use super::{Callee, CalleeConfig, Cancelled};
use crate::frame::{Accept, Credit, Data, Frame, ResetCode, VERSION, encode_probe};
use crate::{BodyErrorKind, Time};

/// For how long nothing may come from the gateway, which asks every 10 s itself, before it is asked although nothing is
/// wanted of it.
const QUIET: Duration = Duration::from_secs(15);

/// The part of a callee that is made only when a body is longer than one frame.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) flow: Flow,
    watch: Watch,
    /// Until the response's head, counted anew when the request's body moves on.
    head_timeout: Option<Duration>,
    responded: bool,
    /// To be sent when the handler reads on before it answers, with the credit of that moment.
    accept: Accept,
    idle: Duration,
    /// The last moment that is known.
    clock: Time,
}

impl<A: Clone + PartialEq> Callee<A> {
    /// The same exchange, of which `inline` are the first bytes of a request's body that does not end with them.
    #[must_use]
    pub fn with_body(
        mut self,
        now: Time,
        head_timeout: Option<Duration>,
        inline: Bytes,
        config: &CalleeConfig,
    ) -> Self {
        let mut stream = Stream::new(now, &config.flow);
        stream.flow.receiver = Some(Receiver::new(&config.flow, inline, 0));
        stream.head_timeout = head_timeout;
        stream.accept.instance.clone_from(&config.instance);
        stream.accept.max_payload = config.max_payload;
        self.stream = Some(Box::new(stream));
        self
    }

    /// The handler has answered with this encoded RESPONSE, which has the first `inline` bytes of a body that goes on.
    pub fn respond_with_body(&mut self, now: Time, response: Bytes, inline: u64, config: &CalleeConfig) {
        if self.ended || self.has_responded() {
            return;
        }
        let stream = self.stream.get_or_insert_with(|| Box::new(Stream::new(now, &config.flow)));
        let mut sender = Sender::new(&config.flow, inline, self.credit);
        sender.limit(self.max_payload);
        stream.flow.sender = Some(sender);
        stream.responded = true;
        stream.begin(now);
        self.deadline = self.total;
        if self.unheard_since.is_none() {
            self.working_at = Time::MAX;
        }
        self.transmit(self.gateway.clone(), response, Some(0));
    }

    /// Whether the next part of the response's body is wanted: there is credit for it.
    pub fn wants_data(&self) -> bool {
        !self.ended && self.stream.as_ref().is_some_and(|stream| stream.flow.wants_data())
    }

    /// More of the response's body may be there at once: what does not fill a frame is not transmitted as long as more is
    /// [wanted](Callee::wants_data), until [`Callee::uncork`]. Not without asking for it soon, or it is never sent.
    pub fn cork(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.flow.cork();
        }
    }

    /// Nothing more is there for now. True if there is something to be transmitted that has waited for more.
    pub fn uncork(&mut self) -> bool {
        self.stream.as_mut().is_some_and(|stream| stream.flow.uncork())
    }

    /// The next part of the response's body. To be called if it is wanted; more waits for credit.
    pub fn send(&mut self, data: Bytes) {
        if let Some(sender) = self.sender() {
            sender.push(data);
        }
    }

    /// The response's body ends here. The exchange ends once all of it has been transmitted.
    pub fn finish(&mut self, trailers: Option<HeaderMap>) {
        let Some(sender) = self.sender() else { return };
        if !sender.finish(trailers) {
            self.abort(ResetCode::TooLarge, "the trailers do not fit one frame".to_owned(), true);
        }
    }

    /// The next part of the request's body, its inline bytes first. Trailers come last, then nothing.
    ///
    /// Pending until a frame was handled. As reading gives credit, [`Callee::poll_transmit`] is to be drained after it.
    pub fn poll_read(&mut self) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyErrorKind>>> {
        self.stream.as_mut().map_or(Poll::Ready(None), |stream| stream.flow.read())
    }

    /// The handler reads no more of the request's body.
    pub fn stop(&mut self) {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.ended) else { return };
        if stream.flow.receiver.as_mut().is_some_and(Receiver::stop) {
            let stop = stream.flow.standing().encode();
            self.transmit(self.gateway.clone(), stop, Some(0));
        }
    }

    /// How many bytes of the request's body wait to be read.
    pub fn queued(&self) -> usize {
        self.stream.as_ref().map_or(0, |stream| stream.flow.queued())
    }

    /// The connection to NATS broke, or is back.
    pub fn handle_connection(&mut self, now: Time, connection: Connection) {
        if let Some(stream) = self.stream.as_mut().filter(|_| !self.ended)
            && connection == Connection::Restored
            && stream.watch.at.is_some()
        {
            stream.watch.asked(now);
            self.probe();
        }
    }

    pub(super) fn has_responded(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.responded)
    }

    /// A frame of the gateway.
    pub(super) fn admitted(&mut self, now: Time, frame: Frame) {
        (self.unheard_since, self.unheard) = (None, false);
        if let Some(stream) = &mut self.stream {
            stream.watch.heard(now);
            stream.clock = now;
        }
        match frame {
            Frame::Probe => self.transmit(self.gateway.clone(), self.standing().encode(), Some(0)),
            Frame::Data(data) => self.received(now, data),
            Frame::Credit(credit) => self.credited(now, &credit),
            _ => {}
        }
    }

    fn received(&mut self, now: Time, data: Data) {
        // A body that was whole in the REQUEST has no more parts: nobody would see them.
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.flow.receiver.is_some()) else {
            return;
        };
        match stream.flow.data(data) {
            Err(code) => self.give_up(code, Cancelled::Broken),
            Ok(false) => {}
            Ok(true) => {
                stream.watch.moved(now);
                if let Some(head_timeout) = stream.head_timeout.filter(|_| !stream.responded) {
                    let deadline = now + head_timeout;
                    self.deadline = Some(self.total.map_or(deadline, |total| total.min(deadline)));
                }
            }
        }
    }

    fn credited(&mut self, now: Time, credit: &Credit) {
        let Some(stream) = &mut self.stream else { return };
        match stream.flow.credit(credit) {
            Err(code) => self.give_up(code, Cancelled::Broken),
            // Without its response there is no use in the exchange.
            Ok(true) if credit.stop => self.cancelled(Cancelled::ByCaller),
            Ok(true) => stream.watch.moved(now),
            Ok(false) => {}
        }
    }

    /// What is to be published of the bodies.
    pub(super) fn poll_stream(&mut self) -> Option<Transmit<A>> {
        let stream = self.stream.as_mut().filter(|_| !self.ended)?;
        let payload = match stream.flow.poll_grant() {
            Some(credit) if !stream.responded && stream.watch.at.is_none() => {
                stream.begin(stream.clock);
                stream.accept.credit = credit;
                stream.accept.encode()
            }
            Some(_) => stream.flow.standing().encode(),
            None => stream.flow.poll_data()?,
        };
        if stream.responded && stream.flow.is_sent() {
            self.end(BodyErrorKind::Reset);
        }
        Some(Transmit::Frame { to: self.gateway.clone(), payload, reply: Some(0) })
    }

    pub(super) fn poll_stream_timeout(&self) -> Option<Time> {
        let stream = self.stream.as_ref()?;
        let idle = stream.watch.at.map(|_| stream.watch.silent_at(stream.idle));
        let retry = stream.flow.is_starved().then(|| stream.clock + RETRY);
        [stream.watch.at, idle, retry].into_iter().flatten().min()
    }

    pub(super) fn handle_stream_timeout(&mut self, now: Time) {
        let Some(stream) = &mut self.stream else { return };
        if stream.flow.is_starved() && stream.clock + RETRY <= now {
            stream.flow.retry();
        }
        stream.clock = now;
        if stream.watch.at.is_some() && stream.watch.silence(now) >= stream.idle {
            return self.give_up(ResetCode::Idle, Cancelled::Idle);
        }
        if stream.watch.is_due(now) {
            if stream.flow.is_waiting() || stream.watch.silence(now) >= QUIET {
                stream.watch.asked(now);
                self.probe();
            } else {
                stream.watch.put_off(now);
            }
        }
    }

    fn probe(&mut self) {
        self.transmit(self.gateway.clone(), encode_probe(), Some(0));
    }

    fn sender(&mut self) -> Option<&mut Sender> {
        self.stream.as_mut().filter(|_| !self.ended)?.flow.sender.as_mut()
    }
}

impl Stream {
    fn new(now: Time, flow: &FlowConfig) -> Self {
        Self {
            flow: Flow::default(),
            watch: Watch::default(),
            head_timeout: None,
            responded: false,
            accept: Accept { version: VERSION, instance: None, max_payload: 0, credit: 0 },
            idle: flow.idle,
            clock: now,
        }
    }

    /// The other side is expected to show itself from now on.
    fn begin(&mut self, now: Time) {
        if self.watch.at.is_none() {
            self.watch.begin(now);
        }
    }
}

#[cfg(test)]
mod tests;
