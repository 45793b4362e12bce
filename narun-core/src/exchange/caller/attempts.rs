use std::time::Duration;

use super::attempt::Attempt;
use super::{Caller, encode_reset};
use crate::frame::{Frame, Refusal, Refused, ResetCode};
use crate::{Failure, FailureKind, Time};

impl<A: Clone + PartialEq> Caller<A> {
    /// Returns whether a frame is accepted: its attempt must be open, and its sender the consumer that took the attempt.
    pub(super) fn admit(&mut self, now: Time, attempt: u8, frame: &Frame, reply: Option<&A>) -> bool {
        let rejection = match self.attempt(attempt) {
            None => ResetCode::Gone,
            Some(Attempt::Over) => ResetCode::Cancel,
            Some(Attempt::Sent) => {
                self.watch.heard(now);
                self.unheard_since = None;
                if !matches!(frame, Frame::Refused(_) | Frame::Reset(_)) {
                    self.mark_taken(now, attempt, reply.cloned());
                }
                return true;
            }
            Some(Attempt::Taken { by }) => match (by, reply) {
                (Some(by), Some(reply)) if by != reply => ResetCode::Gone,
                (None, Some(_)) => {
                    self.unheard_since = None;
                    self.mark_taken(now, attempt, reply.cloned());
                    return true;
                }
                _ => {
                    self.watch.heard(now);
                    (self.grace_until, self.unheard_since) = (None, None);
                    return true;
                }
            },
        };
        if !matches!(frame, Frame::Reset(_)) {
            self.transmit(reply.cloned(), encode_reset(rejection), None);
        }
        false
    }

    /// Notes that a consumer has the request of this attempt, and its token if it named one.
    pub(super) fn mark_taken(&mut self, now: Time, attempt: u8, by: Option<A>) {
        self.silence_at = None;
        self.grace_until = None;
        if by.is_some() && self.watch.at.is_none() {
            self.watch.begin(now);
        }
        if let Some(state) = self.attempt_mut(attempt) {
            *state = Attempt::Taken { by };
        }
    }

    pub(super) fn on_refused(&mut self, now: Time, attempt: u8, refused: &Refused) {
        let kind = match refused.reason {
            // This crate speaks one version, so there is no other to fall back to.
            Refusal::Version | Refusal::BadFrame => {
                return self.lose(now, attempt, FailureKind::Incompatible.into());
            }
            Refusal::Draining => FailureKind::Draining,
            Refusal::Overloaded | Refusal::Other(_) => FailureKind::Overloaded,
        };
        self.try_later(now, attempt, Failure::new(kind).with_retry_after(refused.retry_after));
    }

    /// Ends an attempt that was not executed. Another one follows after a backoff, if one is left.
    pub(super) fn try_later(&mut self, now: Time, attempt: u8, failure: Failure) {
        let at = now + self.backoff();
        if self.resends_left > 0 && at < self.deadline && self.is_repeatable() {
            self.resends_left -= 1;
            self.resend_at = Some(at);
        }
        self.lose(now, attempt, failure);
    }

    /// Ends an attempt. The exchange fails with it unless another attempt is open or scheduled.
    pub(super) fn lose(&mut self, now: Time, attempt: u8, failure: Failure) {
        if let Some(state) = self.attempt_mut(attempt) {
            *state = Attempt::Over;
        }
        let open = self.attempts().any(|attempt| !matches!(attempt, Attempt::Over));
        if !open && self.resend_at.is_none() {
            self.fail(failure, ResetCode::Cancel);
        } else if self.deadline <= now {
            self.time_out();
        }
    }

    /// Adds an attempt, which `poll_transmit` returns next.
    pub(super) fn send_again(&mut self) {
        self.others.push(Attempt::Sent);
    }

    pub(super) fn attempts(&self) -> impl Iterator<Item = &Attempt<A>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    pub(super) fn attempt(&self, number: u8) -> Option<&Attempt<A>> {
        match number.checked_sub(1) {
            None => Some(&self.first),
            Some(other) => self.others.get(usize::from(other)),
        }
    }

    pub(super) fn attempt_mut(&mut self, number: u8) -> Option<&mut Attempt<A>> {
        match number.checked_sub(1) {
            None => Some(&mut self.first),
            Some(other) => self.others.get_mut(usize::from(other)),
        }
    }

    /// Draws a backoff between the two configured ones, from a SplitMix64 sequence.
    pub(super) fn backoff(&mut self) -> Duration {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let fraction = ((bits ^ (bits >> 31)) >> 40) as f64 / f64::from(1_u32 << 24);
        let (shortest, longest) = self.config.backoff;
        shortest + longest.saturating_sub(shortest).mul_f64(fraction)
    }
}
