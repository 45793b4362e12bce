use std::task::Waker;

use async_nats::Subject;
use narun_core::exchange::{
    Callee, CalleeEvent, CalleeTransmit, Caller, CallerEvent, CallerTransmit, PublishRequest, Submission,
    SubmissionEvent,
};
use narun_core::frame::Frame;
use narun_core::{FailureKind, Limits, Time};

use super::outlet::ACKS;
use crate::inbox::Mail;
use crate::jetstream::ack;

/// A state machine of [`narun_core::exchange`], as the loop sees it.
pub trait Machine: Sized {
    /// What it wants published.
    type Transmit;
    /// What the application is notified of.
    type Event;

    /// Hands a message, a change of the connection, or a denial that concerns the exchange, to the machine.
    fn handle_mail(hold: &mut impl Hold<Self>, now: Time, mail: Mail, limits: &Limits);
    /// The next output.
    fn poll_transmit(&mut self) -> Option<Self::Transmit>;
    /// The next event.
    fn poll_event(&mut self) -> Option<Self::Event>;
    /// The time at which [`Machine::handle_timeout`] must be called.
    fn poll_timeout(&self) -> Option<Time>;
    /// A timeout has elapsed.
    fn handle_timeout(&mut self, now: Time);
    /// The reader of the other side's body has been dropped.
    fn handle_reader_dropped(&mut self);
    /// Returns whether it has credit for more of the own body.
    fn wants_data(&self) -> bool;
    /// Returns whether nothing more will be published.
    fn is_ended(&self) -> bool;
    /// Returns whether it has ended, and of what is not published yet only a RESET is of use.
    fn has_given_up(&self) -> bool;
}

/// Where a machine is kept: with the loop, or shared with the reader of the other side's body.
pub trait Hold<M> {
    /// Runs one step of the machine.
    fn with<R>(&mut self, step: impl FnOnce(&mut M) -> R) -> R;

    /// Wakes the reader of the other side's body, unless it is the task of `here`, which polls it next.
    fn wake_reader(&self, here: &Waker);

    /// From now on this task is woken when the reader has read something or is dropped; `None`: no task is woken. Returns
    /// whether the reader has been dropped already.
    fn set_driver(&self, driver: Option<&Waker>) -> bool;
}

/// A machine that only the loop uses.
#[derive(Debug)]
pub struct Owned<M>(pub M);

impl<M> Hold<M> for Owned<M> {
    fn with<R>(&mut self, step: impl FnOnce(&mut M) -> R) -> R {
        step(&mut self.0)
    }

    fn wake_reader(&self, _here: &Waker) {}

    fn set_driver(&self, _driver: Option<&Waker>) -> bool {
        false
    }
}

/// What all machines do alike, by methods of their own.
macro_rules! alike {
    ($transmit:ty, $event:ty) => {
        type Transmit = $transmit;
        type Event = $event;

        fn poll_transmit(&mut self) -> Option<$transmit> {
            self.poll_transmit()
        }

        fn poll_event(&mut self) -> Option<$event> {
            self.poll_event()
        }

        fn poll_timeout(&self) -> Option<Time> {
            self.poll_timeout()
        }

        fn handle_timeout(&mut self, now: Time) {
            self.handle_timeout(now);
        }

        fn is_ended(&self) -> bool {
            self.is_ended()
        }
    };
}

impl Machine for Caller<Subject> {
    alike!(CallerTransmit<Subject>, CallerEvent);

    fn handle_mail(hold: &mut impl Hold<Self>, now: Time, mail: Mail, limits: &Limits) {
        match mail {
            Mail::Frame { token: attempt, payload, reply } => {
                let frame = Frame::decode(&payload, limits);
                hold.with(|caller| match frame {
                    Ok(frame) => caller.handle_frame(now, attempt, frame, reply),
                    Err(error) => caller.handle_malformed(now, attempt, &error, reply),
                });
            }
            Mail::NoResponders { token } => hold.with(|caller| caller.handle_no_responders(now, token)),
            Mail::Connection(change) => hold.with(|caller| caller.handle_connection(now, change)),
            Mail::Denied(subject) => hold.with(|caller| caller.handle_denied(&subject)),
        }
    }

    /// Without a reader the response is of no use.
    fn handle_reader_dropped(&mut self) {
        self.cancel();
    }

    /// No consumer needs a part of the request any more.
    fn has_given_up(&self) -> bool {
        self.is_ended()
    }

    fn wants_data(&self) -> bool {
        self.wants_data()
    }
}

impl Machine for Callee<Subject> {
    alike!(CalleeTransmit<Subject>, CalleeEvent);

    fn handle_mail(hold: &mut impl Hold<Self>, now: Time, mail: Mail, limits: &Limits) {
        match mail {
            Mail::Frame { payload, reply, .. } => {
                let frame = Frame::decode(&payload, limits);
                hold.with(|callee| match frame {
                    Ok(frame) => callee.handle_frame(now, frame, reply),
                    Err(_) => callee.handle_malformed(now),
                });
            }
            Mail::NoResponders { .. } => hold.with(|callee| callee.handle_no_responders(now)),
            Mail::Connection(change) => hold.with(|callee| callee.handle_connection(now, change)),
            // Nothing can be done about it here: the gateway times out.
            Mail::Denied(_) => {}
        }
    }

    /// The handler needs no more of the request, and may still respond.
    fn handle_reader_dropped(&mut self) {
        self.stop();
    }

    fn has_given_up(&self) -> bool {
        self.has_given_up()
    }

    fn wants_data(&self) -> bool {
        self.wants_data()
    }
}

impl Machine for Submission {
    alike!(PublishRequest, SubmissionEvent);

    fn handle_mail(hold: &mut impl Hold<Self>, now: Time, mail: Mail, limits: &Limits) {
        match mail {
            Mail::Frame { token: ACKS, payload, .. } => {
                // An invalid PubAck is ignored: the machine publishes again.
                if let Some(ack) = ack::read(&payload) {
                    hold.with(|submission| submission.handle_ack(now, ack));
                }
            }
            Mail::Frame { payload, .. } => {
                let frame = Frame::decode(&payload, &limits.stored());
                hold.with(|submission| match frame {
                    Ok(frame) => submission.handle_frame(now, frame),
                    Err(error) => submission.handle_malformed(now, &error),
                });
            }
            Mail::NoResponders { token: ACKS } => {
                hold.with(|submission| submission.handle_no_responders(now));
            }
            // Nothing is published with the other token as reply.
            Mail::NoResponders { .. } => {}
            Mail::Connection(change) => hold.with(|submission| submission.handle_connection(now, change)),
            Mail::Denied(_) => {
                let failure = FailureKind::NotPermitted.into();
                hold.with(|submission| submission.handle_unsent(now, failure));
            }
        }
    }

    /// Its response is always complete.
    fn handle_reader_dropped(&mut self) {}

    /// It sends no RESET, and its driver returns at its end.
    fn has_given_up(&self) -> bool {
        self.is_ended()
    }

    /// Its request is always complete.
    fn wants_data(&self) -> bool {
        false
    }
}
