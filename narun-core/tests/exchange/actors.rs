//! Applications at both ends of an exchange, which act as an HTTP client, a gateway and a handler may.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::Frame as Part;
use narun_core::exchange::{
    Budget, Callee, CalleeConfig, CalleeEvent, CalleeTransmit, Caller, CallerConfig, CallerEvent,
    CallerTransmit, ConnectionChange, FlowConfig,
};
use narun_core::fields::Edit;
use narun_core::frame::{Frame, RequestHead, ResetCode, ResponseHead};
use narun_core::{BodyErrorKind, Limits, Time};

use crate::random::Random;
use crate::world::{Address, CONSUMERS, Weather};

/// The application that gives a body.
#[derive(Clone, Debug)]
struct Source {
    id: Address,
    total: usize,
    given: usize,
    trailers: bool,
    finished: bool,
}

/// The application that reads a body.
#[derive(Debug, Default)]
struct Sink {
    read: usize,
    trailers: bool,
    end: Option<Result<(), BodyErrorKind>>,
}

/// Returns the byte of a body at an offset. Bodies and offsets have different bytes, so that a mix-up shows.
fn byte(id: Address, offset: usize) -> u8 {
    let mixed = (offset as u64).wrapping_add(u64::from(id) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

impl Source {
    fn new(id: Address, random: &mut Random, window: u64) -> Self {
        let most = window * random.pick(&[0, 1, 3, 20]);
        let total = usize::try_from(random.below(most + 2)).expect("small");
        Self { id, total, given: 0, trailers: random.one_in(3), finished: false }
    }

    fn piece(&mut self, random: &mut Random, most: u64) -> Bytes {
        let length = usize::try_from(random.below(most) + 1).expect("small").min(self.total - self.given);
        let piece = (self.given..self.given + length).map(|offset| byte(self.id, offset)).collect();
        self.given += length;
        piece
    }

    const fn is_given(&self) -> bool {
        self.given == self.total
    }

    fn trailers(&self) -> Option<HeaderMap> {
        let field = (HeaderName::from_static("x-end"), HeaderValue::from_static("1"));
        self.trailers.then(|| HeaderMap::from_iter([field]))
    }
}

impl Sink {
    /// Takes the result of a read. Returns false if no part had arrived.
    fn take(&mut self, id: Address, read: Poll<Option<Result<Part<Bytes>, BodyErrorKind>>>) -> bool {
        assert!(self.end.is_none());
        match read {
            Poll::Pending => return false,
            Poll::Ready(None) => self.end = Some(Ok(())),
            Poll::Ready(Some(Err(kind))) => self.end = Some(Err(kind)),
            Poll::Ready(Some(Ok(part))) => match part.into_data() {
                Ok(data) => self.data(id, &data),
                Err(_) => self.trailers = true,
            },
        }
        true
    }

    fn data(&mut self, id: Address, data: &[u8]) {
        assert!(!self.trailers && !data.is_empty());
        for read in data {
            assert_eq!(*read, byte(id, self.read), "at {} of {id}", self.read);
            self.read += 1;
        }
    }

    /// Asserts that only a complete body has an end.
    fn check(&self, source: &Source) {
        assert!(self.read <= source.given);
        if self.end == Some(Ok(())) {
            assert_eq!((self.read, self.trailers), (source.total, source.trailers), "{source:?}");
            assert!(source.finished);
        }
    }
}

fn flow(random: &mut Random) -> FlowConfig {
    let mut flow = FlowConfig::default();
    flow.window = random.pick(&[64, 300, 1000, 5000]);
    flow.frame = random.pick(&[100, 300, 3000]);
    flow.budget = Arc::new(Budget::new(random.pick(&[100, 3000, Budget::DEFAULT, Budget::DEFAULT])));
    flow
}

fn pause(random: &mut Random) -> Duration {
    Duration::from_millis(random.below(100))
}

#[derive(Debug)]
pub(crate) struct Gateway {
    machine: Caller<Address>,
    flow: Arc<FlowConfig>,
    weather: Weather,
    started: Time,
    total: Option<Duration>,
    upload: Source,
    inline: Bytes,
    /// The consumer whose response is read.
    winner: Option<Address>,
    download: Sink,
    inline_response: usize,
    failed: bool,
    cancelled: bool,
    crashed: bool,
    tick_at: Time,
}

impl Gateway {
    /// Creates a gateway that has not sent its request yet, and completes the head of that.
    pub(crate) fn new(random: &mut Random, weather: Weather, head: &mut RequestHead) -> Self {
        let flow = Arc::new(flow(random));
        let mut upload = Source::new(0, random, flow.window);
        let inline = match random.below(3) {
            0 => Bytes::new(),
            1 => upload.piece(random, 500),
            _ => upload.piece(random, u64::MAX),
        };
        head.end = upload.is_given() && !upload.trailers;
        upload.finished = head.end;
        let mut config = CallerConfig::default();
        config.idempotent = random.one_in(2);
        config.total_timeout = head.total_timeout;
        config.credit = head.credit;
        let caller = Caller::new(Time::ZERO, config, 1).streaming(flow.clone());
        let machine = match head.end {
            true => caller,
            false => caller.with_body(Time::ZERO, inline.len() as u64, flow.clone()),
        };
        Self {
            machine,
            flow,
            weather,
            started: Time::ZERO,
            total: head.total_timeout,
            upload,
            inline,
            winner: None,
            download: Sink::default(),
            inline_response: 0,
            failed: false,
            cancelled: false,
            crashed: false,
            tick_at: Time::ZERO,
        }
    }

    pub(crate) fn inline(&self) -> Bytes {
        self.inline.clone()
    }

    pub(crate) const fn is_crashed(&self) -> bool {
        self.crashed
    }

    pub(crate) fn crash(&mut self) {
        self.crashed = true;
    }

    /// Returns whether this token is not open.
    pub(crate) fn is_over_or_unknown(&self, _token: Address) -> bool {
        self.machine.is_ended()
    }

    pub(crate) fn is_over(&self) -> bool {
        let is_read = self.winner.is_none() || self.download.end.is_some();
        self.crashed || (self.machine.is_ended() && (is_read || self.cancelled))
    }

    pub(crate) fn next(&self) -> Option<Time> {
        if self.is_over() {
            return None;
        }
        let timeout = self.machine.poll_timeout();
        if let (Some(total), Some(timeout)) = (self.total, timeout) {
            assert!(timeout <= self.started + total);
        }
        Some(timeout.map_or(self.tick_at, |timeout| timeout.min(self.tick_at)))
    }

    pub(crate) fn frame(&mut self, now: Time, token: Address, frame: Frame, reply: Option<Address>) {
        let attempt = u8::try_from(token).expect("a gateway's token");
        self.machine.handle_frame(now, attempt, frame, reply);
    }

    pub(crate) fn no_responders(&mut self, now: Time, token: Address) {
        self.machine.handle_no_responders(now, u8::try_from(token).expect("a gateway's token"));
    }

    pub(crate) fn connection(&mut self, now: Time, connection: ConnectionChange) {
        self.machine.handle_connection(now, connection);
    }

    pub(crate) fn transmit(&mut self) -> Option<CallerTransmit<Address>> {
        if self.crashed {
            return None;
        }
        let transmit = self.machine.poll_transmit();
        if transmit.is_none() {
            self.events();
        }
        transmit
    }

    fn events(&mut self) {
        match self.machine.poll_event() {
            None => {}
            Some(CallerEvent::Failed(_)) => {
                assert!(!self.failed && self.winner.is_none());
                self.failed = true;
            }
            Some(CallerEvent::Response(response)) => {
                assert!(!self.failed && self.winner.is_none());
                let winner = response.head.instance.expect("its consumer").parse().expect("its address");
                self.winner = Some(winner);
                self.inline_response = self.machine.queued();
                if response.head.end {
                    if !response.body.is_empty() {
                        self.download.data(winner, &response.body);
                    }
                    self.download.trailers = response.trailers.is_some();
                    self.download.end = Some(Ok(()));
                }
            }
        }
    }

    pub(crate) fn tick(&mut self, now: Time, random: &mut Random) {
        if self.is_over() {
            return;
        }
        self.machine.handle_timeout(now);
        if self.tick_at > now {
            return;
        }
        self.tick_at = now + pause(random);
        while self.machine.wants_data() && !self.upload.is_given() && !random.one_in(3) {
            let most = random.pick(&[1, 50, 2000]);
            let piece = self.upload.piece(random, most);
            self.machine.send(now, piece);
        }
        if self.upload.is_given() && !self.upload.finished && !self.machine.is_sent() && random.one_in(2) {
            self.machine.finish(now, self.upload.trailers());
            self.upload.finished = true;
        }
        if let (Some(winner), None) = (self.winner, self.download.end) {
            for _ in 0..random.below(4) {
                if !self.download.take(winner, self.machine.poll_read()) || self.download.end.is_some() {
                    break;
                }
            }
        }
        if self.weather != Weather::Fair && random.one_in(300) {
            self.cancelled = true;
            match random.one_in(2) {
                true => self.machine.cancel(),
                false => self.machine.abort(ResetCode::TooLarge, "over a limit"),
            }
        }
    }

    /// Asserts what holds at any time.
    pub(crate) fn check(&self, consumers: &[Consumer]) {
        let window = usize::try_from(self.flow.window).expect("small");
        assert!(self.machine.queued() <= window.max(2000) + self.inline_response);
        consumers.iter().for_each(Consumer::check);
    }

    /// Asserts what holds at the end. Returns whether the whole response arrived.
    pub(crate) fn finish(&mut self, consumers: &[Consumer]) -> bool {
        if let Some(winner) = self.winner {
            let consumer = &consumers[usize::from(winner - CONSUMERS)];
            self.download.check(&consumer.response);
        }
        let other = Caller::new(Time::ZERO, CallerConfig::default(), 0);
        drop(std::mem::replace(&mut self.machine, other));
        assert_eq!(self.flow.budget.used(), 0);
        self.download.end == Some(Ok(()))
    }

    pub(crate) fn sent(&self) -> (usize, bool, bool) {
        (self.upload.total, self.upload.trailers, self.upload.finished)
    }
}

#[derive(Debug)]
pub(crate) struct Consumer {
    machine: Callee<Address>,
    config: Arc<CalleeConfig>,
    address: Address,
    weather: Weather,
    /// The request's body, and how many parts of it the handler reads before it stops; `None` means all.
    upload: Sink,
    inline: usize,
    reads: Option<u64>,
    respond_at: Time,
    response: Source,
    responded: bool,
    crashed: bool,
    tick_at: Time,
}

impl Consumer {
    pub(crate) fn new(
        random: &mut Random,
        weather: Weather,
        now: Time,
        (address, gateway): (Address, Address),
        head: &RequestHead,
        inline: Bytes,
    ) -> Self {
        let mut config = CalleeConfig::default();
        config.flow = flow(random);
        let config = Arc::new(config);
        let mut machine = Callee::new(now, head, gateway, 0, config.clone());
        let mut upload = Sink::default();
        let length = inline.len();
        if head.end {
            upload.read = length;
            upload.end = Some(Ok(()));
        } else {
            machine = machine.with_body(now, head.head_timeout, inline);
        }
        let reads = if random.one_in(2) { None } else { Some(random.below(30)) };
        let response = Source::new(address, random, config.flow.window);
        Self {
            machine,
            config,
            address,
            weather,
            upload,
            inline: length,
            reads,
            respond_at: now + Duration::from_millis(random.below(2500)),
            response,
            responded: false,
            crashed: false,
            tick_at: now,
        }
    }

    pub(crate) const fn address(&self) -> Address {
        self.address
    }

    pub(crate) const fn is_crashed(&self) -> bool {
        self.crashed
    }

    pub(crate) fn crash(&mut self) {
        self.crashed = true;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.crashed || self.machine.is_ended()
    }

    pub(crate) fn next(&self) -> Option<Time> {
        let timeout = self.machine.poll_timeout().filter(|_| !self.crashed)?;
        Some(timeout.min(self.tick_at))
    }

    pub(crate) fn frame(&mut self, now: Time, frame: Frame, reply: Option<Address>) {
        self.machine.handle_frame(now, frame, reply);
    }

    pub(crate) fn no_responders(&mut self, now: Time) {
        self.machine.handle_no_responders(now);
    }

    pub(crate) fn connection(&mut self, now: Time, connection: ConnectionChange) {
        self.machine.handle_connection(now, connection);
    }

    pub(crate) fn transmit(&mut self) -> Option<CalleeTransmit<Address>> {
        if self.crashed {
            return None;
        }
        let transmit = self.machine.poll_transmit();
        if transmit.is_none()
            && let Some(CalleeEvent::Cancelled(_)) = self.machine.poll_event()
        {
            assert!(self.machine.is_ended() && self.weather != Weather::Fair);
        }
        transmit
    }

    pub(crate) fn tick(&mut self, now: Time, random: &mut Random) {
        if self.is_over() {
            return;
        }
        self.machine.handle_timeout(now);
        if self.tick_at > now || self.machine.is_ended() {
            return;
        }
        self.tick_at = now + pause(random);
        self.read(random);
        if !self.responded && now >= self.respond_at && (self.reads.is_some() || self.upload.end.is_some()) {
            self.respond(now, random);
        }
        while self.machine.wants_data() && !self.response.is_given() && !random.one_in(3) {
            let most = random.pick(&[1, 50, 2000]);
            let piece = self.response.piece(random, most);
            self.machine.send(now, piece);
        }
        if self.responded && self.response.is_given() && !self.response.finished && random.one_in(2) {
            self.response.finished = true;
            self.machine.finish(now, self.response.trailers());
        }
        if self.weather != Weather::Fair && random.one_in(300) {
            self.machine.abort(ResetCode::Internal, "the handler failed", true);
        }
    }

    fn read(&mut self, random: &mut Random) {
        for _ in 0..random.below(4) {
            if self.upload.end.is_some() || self.reads == Some(0) {
                return;
            }
            if !self.upload.take(0, self.machine.poll_read()) {
                return;
            }
            if let Some(reads) = &mut self.reads {
                *reads -= 1;
                if *reads == 0 {
                    self.machine.stop();
                }
            }
        }
    }

    fn respond(&mut self, now: Time, random: &mut Random) {
        self.responded = true;
        let inline = match random.below(3) {
            0 => Bytes::new(),
            1 => self.response.piece(random, 500),
            _ => self.response.piece(random, u64::MAX),
        };
        let end = self.response.is_given() && !random.one_in(3);
        let parts = Response::new(()).into_parts().0;
        let mut head = ResponseHead::new();
        (head.end, head.instance) = (end, Some(self.address.to_string()));
        let trailers = self.response.trailers();
        let length = inline.len() as u64;
        let frame = head
            .encode(&parts, Edit::default(), inline, trailers.as_ref(), &Limits::default())
            .expect("small");
        if end {
            self.response.finished = true;
            self.machine.respond(now, frame);
        } else {
            self.machine.respond_with_body(now, frame, length);
        }
    }

    /// Asserts what holds at any time.
    fn check(&self) {
        let window = usize::try_from(self.config.flow.window).expect("small");
        assert!(self.machine.queued() <= window + self.inline);
        assert!(self.config.flow.budget.used() <= self.config.flow.window);
    }

    /// Asserts what holds at the end.
    pub(crate) fn finish(self, (total, trailers, finished): (usize, bool, bool), weather: Weather) {
        if self.upload.end == Some(Ok(())) && self.reads != Some(0) {
            assert_eq!((self.upload.read, self.upload.trailers), (total, trailers));
            assert!(finished);
        }
        let is_whole = self.upload.end == Some(Ok(())) || self.reads.is_some();
        assert!(is_whole || weather != Weather::Fair, "{:?}", self.upload);
        let budget = self.config.flow.budget.clone();
        drop(self);
        assert_eq!(budget.used(), 0);
    }
}
