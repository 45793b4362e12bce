//! The messages that run in this process, and what became of others.
//!
//! The server delivers a message again if it hears nothing about it for the ack wait: because the process was stopped,
//! handlers blocked all threads, or acks were lost. Such a delivery is joined to the run in progress, or acked as the
//! run was that has ended.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_nats::Subject;
use bytes::Bytes;

use super::acks::{AckKind, MessageKey};
use super::dead_letter::DeadLetterReason;

/// How many messages are remembered that ended. Each takes about 100 bytes.
const ENDED: usize = 16 * 1024;

/// How many messages are remembered that were given back.
const GIVEN_BACK: usize = 1024;

/// The most bytes of responses that are remembered, and what each counts in addition to its length.
const RESPONSES: usize = 4 * 1024 * 1024;
const OVERHEAD: usize = 128;

/// The messages that a worker knows. Their number is bounded: by the slots, and by the constants above.
#[derive(Debug)]
pub(super) struct Deliveries(Mutex<Table>);

#[derive(Debug)]
struct Table {
    running: HashMap<MessageKey, Running>,
    /// With the ack that was sent.
    ended: Recent<AckKind>,
    /// Of messages that are about to end, or have ended: response and ack may be lost with a connection.
    responses: Recent<SentResponse>,
    given_back: Recent<GivenBack>,
}

#[derive(Debug)]
struct Running {
    /// The ack subject of the last delivery.
    subject: Subject,
    /// As in [`GivenBack`].
    uncounted: u64,
}

/// A response, and the connection on which it was sent.
#[derive(Debug)]
struct SentResponse {
    response: Bytes,
    epoch: u64,
}

/// What is known of a message that was given back.
#[derive(Clone, Debug, Default)]
pub(super) struct GivenBack {
    /// How many of its deliveries do not count: the message ran already, or its outcome or body could not be reached.
    pub(super) uncounted: u64,
    /// Set if the message is a dead letter in the next delivery: it could not be stored yet, or was in doubt.
    pub(super) dead: Option<DeadLetterReason>,
}

/// What follows from a delivery.
#[derive(Debug)]
pub(super) enum Entered {
    /// Nothing: the message runs, and its acks go to the subject of this delivery from now on.
    Joined,
    /// The message must be acked in this way again. It counts as running until then.
    Ended(AckKind),
    /// The message must be handled.
    New(GivenBack),
}

impl Deliveries {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Table {
            running: HashMap::new(),
            ended: Recent::new(ENDED),
            responses: Recent::new(RESPONSES),
            given_back: Recent::new(GIVEN_BACK),
        }))
    }

    /// Records a delivery with this ack subject.
    pub(super) fn enter(&self, key: MessageKey, subject: Subject) -> Entered {
        let mut table = self.table();
        if let Some(running) = table.running.get_mut(&key) {
            running.subject = subject;
            running.uncounted += 1;
            return Entered::Joined;
        }
        let earlier = table.given_back.get(&key).cloned().unwrap_or_default();
        table.running.insert(key, Running { subject, uncounted: earlier.uncounted });
        match table.ended.get(&key) {
            Some(ack) => Entered::Ended(*ack),
            None => Entered::New(earlier),
        }
    }

    /// Leaves a delivery of a running message out of their count.
    pub(super) fn uncount(&self, key: MessageKey) {
        if let Some(running) = self.table().running.get_mut(&key) {
            running.uncounted += 1;
        }
    }

    /// Removes a running message, before this ack of it is sent. Returns the subject for the ack.
    ///
    /// `dead` is the reason if the message is given back and is a dead letter in its next delivery.
    pub(super) fn leave(
        &self,
        key: MessageKey,
        ack: AckKind,
        dead: Option<DeadLetterReason>,
    ) -> Option<Subject> {
        let mut table = self.table();
        let Running { subject, uncounted } = table.running.remove(&key)?;
        match ack {
            AckKind::Ack | AckKind::Term => {
                table.ended.insert(key, ack, 1);
                table.given_back.remove(&key);
            }
            AckKind::Nak(_) if uncounted > 0 || dead.is_some() => {
                table.given_back.insert(key, GivenBack { uncounted, dead }, 1);
            }
            AckKind::Nak(_) | AckKind::Progress => {}
        }
        Some(subject)
    }

    /// Remembers the response to a message, and the connection on which it is sent if anybody waits for it.
    pub(super) fn responded(&self, key: MessageKey, response: Bytes, epoch: u64) {
        let weight = response.len() + OVERHEAD;
        self.table().responses.insert(key, SentResponse { response, epoch }, weight);
    }

    /// The response to a message, if it may have been lost because it was sent on another connection than this one. `None` if
    /// there was none, or it was too long ago.
    pub(super) fn lost_response(&self, key: MessageKey, epoch: u64) -> Option<Bytes> {
        let table = self.table();
        let sent = table.responses.get(&key).filter(|sent| sent.epoch != epoch)?;
        Some(sent.response.clone())
    }

    /// The response to a message. `None` if there was none, or it was too long ago.
    pub(super) fn response(&self, key: MessageKey) -> Option<Bytes> {
        self.table().responses.get(&key).map(|sent| sent.response.clone())
    }

    /// The ack subjects of all running messages.
    pub(super) fn running(&self) -> Vec<Subject> {
        self.table().running.values().map(|running| running.subject.clone()).collect()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The values that were inserted last, up to a total weight.
#[derive(Debug)]
struct Recent<V> {
    values: HashMap<MessageKey, V>,
    /// With the weight of each value.
    order: VecDeque<(MessageKey, usize)>,
    weight: usize,
    limit: usize,
}

impl<V> Recent<V> {
    fn new(limit: usize) -> Self {
        Self { values: HashMap::new(), order: VecDeque::new(), weight: 0, limit }
    }

    fn get(&self, key: &MessageKey) -> Option<&V> {
        self.values.get(key)
    }

    fn remove(&mut self, key: &MessageKey) {
        if self.values.remove(key).is_some()
            && let Some(index) = self.order.iter().position(|(other, _)| other == key)
            && let Some((_, weight)) = self.order.remove(index)
        {
            self.weight -= weight;
        }
    }

    /// Inserts a value. One that replaces another keeps its weight.
    fn insert(&mut self, key: MessageKey, value: V, weight: usize) {
        if weight > self.limit || self.values.insert(key, value).is_some() {
            return;
        }
        self.order.push_back((key, weight));
        self.weight += weight;
        while self.weight > self.limit
            && let Some((oldest, weight)) = self.order.pop_front()
        {
            self.weight -= weight;
            self.values.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::request::is_beyond_doubt;
    use super::*;

    const NAK: AckKind = AckKind::Nak(Duration::ZERO);

    fn key(sequence: u64) -> MessageKey {
        MessageKey { sequence, nanos: 1 }
    }

    fn is_new(entered: &Entered, joined: u64) -> bool {
        matches!(entered, Entered::New(earlier) if earlier.uncounted == joined && earlier.dead.is_none())
    }

    #[test]
    fn a_delivery_of_a_running_message_is_joined_to_it() {
        let deliveries = Deliveries::new();
        assert!(is_new(&deliveries.enter(key(1), "a".into()), 0));
        assert!(matches!(deliveries.enter(key(1), "b".into()), Entered::Joined));
        assert!(is_new(&deliveries.enter(key(2), "c".into()), 0));
        let other = MessageKey { nanos: 2, ..key(1) };
        assert!(is_new(&deliveries.enter(other, "of another stream".into()), 0));
        assert_eq!(deliveries.running().len(), 3);
        assert_eq!(deliveries.leave(key(1), AckKind::Ack, None).as_deref(), Some("b"));
        assert_eq!(deliveries.leave(key(1), AckKind::Ack, None), None);
        assert_eq!(deliveries.running().len(), 2);
    }

    #[test]
    fn a_message_that_ended_is_acked_in_the_same_way_again() {
        let deliveries = Deliveries::new();
        for (number, ack) in [(1, AckKind::Ack), (2, AckKind::Term)] {
            deliveries.enter(key(number), "a".into());
            deliveries.leave(key(number), ack, None);
            for _ in 0..2 {
                assert!(
                    matches!(deliveries.enter(key(number), "b".into()), Entered::Ended(again) if again == ack)
                );
                assert_eq!(deliveries.leave(key(number), ack, None).as_deref(), Some("b"));
            }
        }
    }

    #[test]
    fn a_message_that_was_given_back_runs_again_and_joined_deliveries_are_counted() {
        let deliveries = Deliveries::new();
        deliveries.enter(key(1), "a".into());
        for joined in 1..=2 {
            deliveries.enter(key(1), "b".into());
            deliveries.leave(key(1), NAK, None);
            assert!(is_new(&deliveries.enter(key(1), "c".into()), joined));
        }
        deliveries.leave(key(1), NAK, Some(DeadLetterReason::Foreign));
        let Entered::New(earlier) = deliveries.enter(key(1), "d".into()) else { panic!("not new") };
        assert!(earlier.uncounted == 2 && matches!(earlier.dead, Some(DeadLetterReason::Foreign)));
    }

    #[test]
    fn a_delivery_that_failed_for_lack_of_storage_is_not_counted() {
        let deliveries = Deliveries::new();
        for uncounted in 0..3 {
            assert!(is_new(&deliveries.enter(key(1), "a".into()), uncounted));
            deliveries.uncount(key(1));
            deliveries.leave(key(1), NAK, None);
        }
        deliveries.uncount(key(1));
        assert!(is_new(&deliveries.enter(key(1), "a".into()), 3), "it did not run");
    }

    #[test]
    fn a_message_that_ended_makes_room_for_others_that_are_given_back() {
        let deliveries = Deliveries::new();
        let doubt = |key| {
            deliveries.enter(key, "a".into());
            deliveries.leave(key, NAK, Some(DeadLetterReason::Deliveries(6)));
        };
        doubt(key(0));
        for sequence in 1..=GIVEN_BACK as u64 {
            doubt(key(sequence));
            deliveries.enter(key(sequence), "b".into());
            deliveries.leave(key(sequence), AckKind::Term, None);
        }
        let Entered::New(earlier) = deliveries.enter(key(0), "b".into()) else { panic!("not new") };
        assert!(earlier.dead.is_some());
    }

    #[test]
    fn more_messages_in_doubt_than_are_remembered_become_dead_letters_all_the_same() {
        const LIMIT: u64 = 5;
        let deliveries = Deliveries::new();
        let mut waiting: Vec<_> = (0..=GIVEN_BACK as u64).map(key).collect();
        for count in LIMIT + 1..3 * LIMIT + 5 {
            waiting.retain(|message| {
                let Entered::New(earlier) = deliveries.enter(*message, "a".into()) else { panic!("not new") };
                let is_dead = earlier.dead.is_some() || is_beyond_doubt(count, LIMIT);
                let (ack, dead) = match is_dead {
                    true => (AckKind::Term, None),
                    false => (NAK, Some(DeadLetterReason::Deliveries(count))),
                };
                deliveries.leave(*message, ack, dead);
                !is_dead
            });
        }
        assert!(waiting.is_empty(), "{} wait for ever", waiting.len());
    }

    #[test]
    fn the_last_responses_are_remembered() {
        let deliveries = Deliveries::new();
        let response = |length| Bytes::from(vec![0; length]);
        deliveries.responded(key(0), response(RESPONSES), 1);
        assert_eq!(deliveries.lost_response(key(0), 2), None);
        for sequence in 1..=3 {
            deliveries.responded(key(sequence), response(RESPONSES / 2 - OVERHEAD), 1);
        }
        assert_eq!(deliveries.lost_response(key(1), 2), None);
        assert!(deliveries.lost_response(key(2), 2).is_some() && deliveries.response(key(2)).is_some());
        assert!(deliveries.lost_response(key(3), 2).is_some());
        assert_eq!(deliveries.lost_response(key(3), 1), None, "it was not lost");
    }

    #[test]
    fn the_number_of_remembered_messages_is_bounded() {
        let deliveries = Deliveries::new();
        for sequence in 0..(ENDED + GIVEN_BACK) as u64 {
            deliveries.enter(key(sequence), "a".into());
            deliveries.leave(key(sequence), AckKind::Ack, None);
            deliveries.enter(key(u64::MAX - sequence), "a".into());
            deliveries.leave(key(u64::MAX - sequence), NAK, Some(DeadLetterReason::Foreign));
        }
        let table = deliveries.table();
        assert!(table.running.is_empty());
        assert_eq!((table.ended.values.len(), table.ended.order.len()), (ENDED, ENDED));
        assert_eq!((table.given_back.values.len(), table.given_back.order.len()), (GIVEN_BACK, GIVEN_BACK));
        assert!(table.ended.get(&key(0)).is_none());
    }
}
