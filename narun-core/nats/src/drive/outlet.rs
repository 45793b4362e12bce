use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use narun_core::exchange::{CalleeTransmit, CallerTransmit, PublishRequest};
use narun_core::frame::RequestHead;

use crate::inbox::{Endpoint, Registration};
use crate::link::OutgoingMessage;

/// The token of a submission at which the response arrives. It is the first one, which also learns of the connection.
pub(super) const RESPONSE: u8 = 0;
/// The token of a submission at which the stream's PubAcks arrive.
pub(super) const ACKS: u8 = 1;

/// Turns the output of a machine into messages: to which subject, with which reply.
pub trait Outlet<T> {
    /// The message of an output. A token is opened when it is first named as reply, and kept in `registration`.
    fn message(
        &mut self,
        endpoint: &Endpoint,
        registration: &mut Option<Registration>,
        transmit: T,
    ) -> OutgoingMessage<'_>;

    /// Returns whether the exchange publishes to this subject, and is notified when NATS denies that.
    fn publishes_to(&self, subject: &Subject) -> bool;
}

/// Messages of a gateway: the REQUEST of each attempt, and frames to consumers.
#[derive(Clone, Debug)]
pub struct CallerOutlet {
    /// The app's subject.
    to: Subject,
    /// The encoded REQUEST.
    frame: Bytes,
    /// The token of the consumer to which the last frame was sent, other than a RESET.
    consumer: Option<Subject>,
    /// The reply subjects of attempts, if they are named more than once.
    replies: Option<Vec<Subject>>,
    /// How many attempts have been published.
    attempts: u8,
}

/// Messages of a consumer: frames to the gateway.
#[derive(Debug, Default)]
pub struct CalleeOutlet {
    /// The subject of the own token, if that is open.
    reply: Option<Subject>,
}

/// Messages of a submission: the request, with the same headers each time.
#[derive(Debug)]
pub struct SubmissionOutlet {
    pub(super) to: Subject,
    pub(super) headers: HeaderMap,
    pub(super) frame: Bytes,
}

impl CallerOutlet {
    /// Sends `frame`, an encoded REQUEST, to the subject `to`.
    pub(super) const fn new(to: Subject, frame: Bytes) -> Self {
        Self { to, frame, consumer: None, replies: None, attempts: 0 }
    }

    /// The same for an exchange of many frames: reply subjects are kept, which takes an allocation more for the first.
    pub(super) fn of_many(mut self) -> Self {
        self.replies = Some(Vec::new());
        self
    }

    /// How many attempts have been published.
    pub(super) const fn attempts(&self) -> u8 {
        self.attempts
    }

    fn reply(&mut self, registration: &mut Registration, attempt: u8) -> Subject {
        let Some(replies) = &mut self.replies else { return registration.reply(attempt).into() };
        for attempt in (0..=attempt).skip(replies.len()) {
            replies.push(registration.reply(attempt).into());
        }
        replies[usize::from(attempt)].clone()
    }
}

impl Outlet<CallerTransmit<Subject>> for CallerOutlet {
    fn message(
        &mut self,
        endpoint: &Endpoint,
        registration: &mut Option<Registration>,
        transmit: CallerTransmit<Subject>,
    ) -> OutgoingMessage<'_> {
        let (to, attempt, payload) = match transmit {
            CallerTransmit::Request { attempt } => {
                self.attempts = attempt.saturating_add(1);
                let payload = match attempt {
                    0 => self.frame.clone(),
                    _ => {
                        RequestHead::with_attempt(&self.frame, attempt).unwrap_or_else(|_| self.frame.clone())
                    }
                };
                (self.to.clone(), Some(attempt), payload)
            }
            CallerTransmit::Frame { to, payload, reply } => {
                if reply.is_some() {
                    self.consumer = Some(to.clone());
                }
                (to, reply, payload)
            }
        };
        let registration = registration.get_or_insert_with(|| endpoint.register());
        let reply = attempt.map(|attempt| self.reply(registration, attempt));
        OutgoingMessage { to, reply, headers: None, payload }
    }

    fn publishes_to(&self, subject: &Subject) -> bool {
        self.to == *subject || self.consumer.as_ref() == Some(subject)
    }
}

impl Outlet<CalleeTransmit<Subject>> for CalleeOutlet {
    fn message(
        &mut self,
        endpoint: &Endpoint,
        registration: &mut Option<Registration>,
        transmit: CalleeTransmit<Subject>,
    ) -> OutgoingMessage<'_> {
        let CalleeTransmit { to, payload, reply } = transmit;
        let reply = reply.then(|| {
            let open = || registration.get_or_insert_with(|| endpoint.register()).reply(0).into();
            self.reply.get_or_insert_with(open).clone()
        });
        OutgoingMessage { to, reply, headers: None, payload }
    }

    fn publishes_to(&self, _subject: &Subject) -> bool {
        false
    }
}

impl Outlet<PublishRequest> for SubmissionOutlet {
    fn message(
        &mut self,
        endpoint: &Endpoint,
        registration: &mut Option<Registration>,
        PublishRequest: PublishRequest,
    ) -> OutgoingMessage<'_> {
        let registration = registration.get_or_insert_with(|| endpoint.register());
        let reply = Some(registration.reply(ACKS).into());
        let (to, payload) = (self.to.clone(), self.frame.clone());
        OutgoingMessage { to, reply, headers: Some(&self.headers), payload }
    }

    fn publishes_to(&self, subject: &Subject) -> bool {
        self.to == *subject
    }
}
