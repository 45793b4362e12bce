//! A gateway, some consumers and a network between them, all generated from a seed.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use narun_core::exchange::{CalleeTransmit, CallerTransmit, ConnectionChange};
use narun_core::frame::{Frame, Refusal, Refused, RequestHead, Reset, ResetCode};
use narun_core::{ExchangeId, Limits, Time};

use crate::actors::{Consumer, Gateway};
use crate::random::Random;

/// A token. The gateway's tokens are the numbers of its attempts; those of the consumers start at [`CONSUMERS`].
pub(crate) type Address = u16;

pub(crate) const CONSUMERS: Address = 1000;

/// When every exchange must be over: applications take less than 100 s, and 30 s later no side waits any more.
const LIMIT: Time = Time::new(Duration::from_secs(300));

/// How the network treats messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Messages are delayed, and stay in order.
    Fair,
    /// Also, messages are lost when a connection is cut, as in NATS, processes may crash, and applications may give up.
    Rough,
    /// Also, messages are dropped, repeated and reordered.
    Wild,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) now: Time,
    pub(crate) weather: Weather,
    /// The head of the request.
    pub(crate) head: RequestHead,
    gateway: Gateway,
    consumers: Vec<Consumer>,
    wire: BTreeMap<(Time, u64), Message>,
    order: u64,
    /// When the connection of the gateway, and that of the consumers, is cut and restored.
    cuts: [Option<(Time, Time)>; 2],
    crash: [Option<Time>; 2],
    /// Whether a DATA of the gateway, and of the consumers, met "no responders".
    has_bounced: [bool; 2],
    /// The side that handles a "no responders".
    hears_bounce: Option<usize>,
    last: [Time; 2],
    pub(crate) trace: bool,
}

#[derive(Clone, Debug)]
struct Message {
    to: Address,
    reply: Option<Address>,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Request { attempt: u8 },
    Frame(Bytes),
    NoResponders,
}

impl World {
    pub(crate) fn new(seed: u64, trace: bool) -> Self {
        let mut random = Random::new(seed);
        let weather = random.pick(&[Weather::Fair, Weather::Fair, Weather::Rough, Weather::Wild]);
        let mut head = RequestHead::new(ExchangeId::from_bytes([7; 16]));
        head.head_timeout = Some(Duration::from_secs(15));
        if weather != Weather::Fair && random.one_in(8) {
            head.total_timeout = Some(Duration::from_millis(random.below(8000)));
        }
        head.credit = if random.one_in(3) { random.below(2000) } else { 0 };
        let gateway = Gateway::new(&mut random, weather, &mut head);
        let mut world = Self {
            random,
            now: Time::ZERO,
            weather,
            head,
            gateway,
            consumers: Vec::new(),
            wire: BTreeMap::new(),
            order: 0,
            cuts: [None; 2],
            crash: [None; 2],
            has_bounced: [false; 2],
            hears_bounce: None,
            last: [Time::ZERO; 2],
            trace,
        };
        if weather != Weather::Fair {
            world.make_weather();
        }
        world
    }

    fn make_weather(&mut self) {
        for side in 0..2 {
            if self.random.one_in(3) {
                let from = Time::new(Duration::from_millis(self.random.below(4000)));
                self.cuts[side] = Some((from, from + Duration::from_millis(self.random.below(3500))));
            }
            if self.random.one_in(8) {
                self.crash[side] = Some(Time::new(Duration::from_millis(self.random.below(4000))));
            }
        }
    }

    /// Plays the exchange to its end, and returns whether the whole response arrived.
    pub(crate) fn play(mut self) -> bool {
        let mut steps = 0;
        loop {
            self.drain();
            self.gateway.check(&self.consumers);
            let ended = self.gateway.is_over() && self.consumers.iter().all(Consumer::is_over);
            if ended {
                break;
            }
            let Some(next) = self.next() else { break };
            assert!(next <= LIMIT, "the exchange does not end\n{:?}\n{:?}", self.gateway, self.consumers);
            self.now = self.now.max(next);
            steps += 1;
            assert!(steps < 200_000, "the exchange loops\n{:?}\n{:?}", self.gateway, self.consumers);
            self.step();
        }
        assert!(self.gateway.is_over(), "the gateway waits without a timeout\n{:?}", self.gateway);
        assert!(
            self.consumers.iter().all(Consumer::is_over),
            "a consumer waits without a timeout\n{:?}",
            self.consumers
        );
        let whole = self.gateway.finish(&self.consumers);
        for consumer in std::mem::take(&mut self.consumers) {
            consumer.finish(self.gateway.sent(), self.weather);
        }
        assert!(whole || self.weather != Weather::Fair, "failed in fair weather");
        whole
    }

    /// Returns when the next thing happens, or `None` if nothing will.
    fn next(&self) -> Option<Time> {
        let wire = self.wire.keys().next().map(|(at, _)| *at);
        let cuts = self.cuts.iter().flatten().map(|(from, to)| if *from > self.now { *from } else { *to });
        let others = cuts.chain(self.crash.iter().flatten().copied()).filter(|at| *at > self.now);
        let consumers = self.consumers.iter().filter_map(Consumer::next);
        wire.into_iter().chain(others).chain(self.gateway.next()).chain(consumers).min()
    }

    fn step(&mut self) {
        for side in 0..2 {
            if self.crash[side].take_if(|at| *at <= self.now).is_some() {
                self.trace(format_args!("side {side} crashes"));
                self.crashed(side);
            }
            match self.cuts[side] {
                Some((from, _)) if from == self.now => self.connection(side, ConnectionChange::Lost),
                Some((_, to)) if to == self.now => self.connection(side, ConnectionChange::Restored),
                _ => {}
            }
        }
        let due = self.wire.split_off(&(self.now + Duration::from_nanos(1), 0));
        for (_, message) in std::mem::replace(&mut self.wire, due) {
            let is_bounce = matches!(message.content, Content::NoResponders);
            self.hears_bounce = is_bounce.then_some(usize::from(message.to >= CONSUMERS - 1));
            self.deliver(message);
            self.drain();
            self.hears_bounce = None;
        }
        self.gateway.tick(self.now, &mut self.random);
        self.drain();
        for consumer in &mut self.consumers {
            consumer.tick(self.now, &mut self.random);
        }
    }

    fn crashed(&mut self, side: usize) {
        match side {
            0 => self.gateway.crash(),
            _ => self.consumers.iter_mut().for_each(Consumer::crash),
        }
    }

    fn connection(&mut self, side: usize, connection: ConnectionChange) {
        self.trace(format_args!("side {side}: {connection:?}"));
        if connection == ConnectionChange::Lost {
            // Some messages on the wire are lost.
            let random = &mut self.random;
            self.wire.retain(|_, _| !random.one_in(2));
        }
        match side {
            0 => self.gateway.connection(self.now, connection),
            _ => self.consumers.iter_mut().for_each(|consumer| consumer.connection(self.now, connection)),
        }
    }

    fn is_cut(&self, side: usize) -> bool {
        self.cuts[side].is_some_and(|(from, to)| from <= self.now && self.now < to)
    }

    /// Puts the messages that the machines publish on the wire.
    fn drain(&mut self) {
        while let Some(transmit) = self.gateway.transmit() {
            match transmit {
                CallerTransmit::Request { attempt } => {
                    let to = CONSUMERS - 1;
                    self.post(0, to, Some(Address::from(attempt)), &Content::Request { attempt });
                }
                CallerTransmit::Frame { to, payload, reply } => {
                    self.post(0, to, reply.map(Address::from), &Content::Frame(payload));
                }
            }
        }
        for index in 0..self.consumers.len() {
            while let Some(transmit) = self.consumers[index].transmit() {
                let CalleeTransmit { to, payload, reply } = transmit;
                let own = self.consumers[index].address();
                self.post(1, to, reply.then_some(own), &Content::Frame(payload));
            }
        }
    }

    fn post(&mut self, from: usize, to: Address, reply: Option<Address>, content: &Content) {
        if self.trace {
            match content {
                Content::Frame(payload) => {
                    let frame = Frame::decode(payload, &Limits::default().stored());
                    self.trace(format_args!("{from} -> {to} ({reply:?}): {frame:?}"));
                }
                content => self.trace(format_args!("{from} -> {to} ({reply:?}): {content:?}")),
            }
        }
        if self.weather == Weather::Rough
            && self.hears_bounce == Some(from)
            && let Content::Frame(payload) = content
            && let Ok(Frame::Reset(reset)) = Frame::decode(payload, &Limits::default())
            && reset.code == ResetCode::Gap
        {
            assert!(self.has_bounced[from], "side {from} takes another frame for DATA");
        }
        let mut copies = 1;
        let mut delay = Duration::from_micros(self.random.below(3000));
        let mut ordered = true;
        if self.weather == Weather::Wild {
            copies = match self.random.below(100) {
                0 => 0,
                1 => 2,
                _ => 1,
            };
            ordered = !self.random.one_in(50);
        }
        // A client queues messages until it is connected again.
        let sent = match self.cuts[from] {
            Some((_, to)) if self.is_cut(from) => to,
            _ => self.now,
        };
        for _ in 0..copies {
            let mut at = sent + delay;
            if ordered {
                at = at.max(self.last[from]);
                self.last[from] = at;
            }
            self.order += 1;
            self.wire.insert((at, self.order), Message { to, reply, content: content.clone() });
            delay += Duration::from_micros(self.random.below(3000));
        }
    }

    fn deliver(&mut self, message: Message) {
        let Message { to, reply, content } = message;
        let receiver = usize::from(to >= CONSUMERS - 1);
        if self.is_cut(receiver) || (receiver == 0 && self.gateway.is_crashed()) {
            return self.no_responders(reply, &content);
        }
        match content {
            Content::Request { attempt } => self.request(attempt),
            Content::NoResponders if receiver == 0 => self.gateway.no_responders(self.now, to),
            Content::NoResponders => {
                let now = self.now;
                if let Some(consumer) = self.consumer(to) {
                    consumer.no_responders(now);
                }
            }
            Content::Frame(payload) => {
                let frame =
                    Frame::decode(&payload, &Limits::default().stored()).expect("own frames are valid");
                if receiver == 0 && !self.gateway.is_over_or_unknown(to) {
                    return self.gateway.frame(self.now, to, frame, reply);
                }
                let now = self.now;
                match self.consumer(to).filter(|_| receiver == 1) {
                    Some(consumer) if consumer.is_crashed() => {
                        self.no_responders(reply, &Content::Frame(payload));
                    }
                    Some(consumer) if !consumer.is_over() => consumer.frame(now, frame, reply),
                    // The inbox does not know the token.
                    _ if !matches!(frame, Frame::Reset(_)) => {
                        if let Some(reply) = reply {
                            let gone = Reset { code: ResetCode::Gone, text: String::new(), ran: true };
                            self.post(receiver, reply, None, &Content::Frame(gone.encode()));
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn no_responders(&mut self, reply: Option<Address>, content: &Content) {
        if let (Some(reply), false) = (reply, matches!(content, Content::NoResponders)) {
            if let Content::Frame(payload) = content
                && let Ok(Frame::Data(_)) = Frame::decode(payload, &Limits::default())
            {
                self.has_bounced[usize::from(reply >= CONSUMERS)] = true;
            }
            // The server's response.
            self.order += 1;
            let message = Message { to: reply, reply: None, content: Content::NoResponders };
            self.wire.insert((self.now, self.order), message);
        }
    }

    /// Delivers a request to a new consumer, which takes or refuses it.
    fn request(&mut self, attempt: u8) {
        let gateway = Address::from(attempt);
        if self.weather != Weather::Fair && self.random.one_in(12) {
            let refused = Refused { reason: Refusal::Overloaded, retry_after: None, versions: vec![] };
            return self.post(1, gateway, None, &Content::Frame(refused.encode()));
        }
        if self.consumers.iter().any(Consumer::is_crashed) {
            return self.no_responders(Some(gateway), &Content::Request { attempt });
        }
        let number = Address::try_from(self.consumers.len()).expect("a few");
        let inline = self.gateway.inline();
        let consumer = Consumer::new(
            &mut self.random,
            self.weather,
            self.now,
            (CONSUMERS + number, gateway),
            &self.head,
            inline,
        );
        self.consumers.push(consumer);
    }

    fn consumer(&mut self, address: Address) -> Option<&mut Consumer> {
        self.consumers.get_mut(usize::from(address.checked_sub(CONSUMERS)?))
    }

    fn trace(&self, what: std::fmt::Arguments<'_>) {
        if self.trace {
            eprintln!("{:>12?} {what}", self.now.since_origin());
        }
    }
}
