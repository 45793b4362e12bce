//! Asking the stream's consumer for as many messages as there is room for.
//!
//! Of its own, as the client's pulls take more than there are free slots for, and keep them waiting.

use std::time::Duration;

use async_nats::{Message, StatusCode};
use tokio::time::Instant;

/// How many pulls are under way at once: one is asked for while the other still comes in.
pub(super) const LANES: usize = 2;

/// How many messages are asked for at once.
const BATCH: usize = 256;

/// How long the server keeps a pull.
const EXPIRES: Duration = Duration::from_secs(30);

/// How often the server says that it still keeps one, while it has nothing to send.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Without a word for so long, a pull is lost.
const SILENCE: Duration = Duration::from_secs(11);

/// What has been asked for and not come yet.
///
/// What comes to a lane's subscription is counted against the pull that is under way there: messages carry their own
/// subject, not the pull's, but the subscription tells the lane. Only statuses name their pull, by the number that ends
/// its inbox.
#[derive(Debug)]
pub(super) struct Pulls {
    slots: usize,
    lanes: [Option<Pull>; LANES],
    asked: u64,
}

#[derive(Debug)]
struct Pull {
    number: u64,
    left: usize,
    /// When the server was last heard of it.
    heard: Instant,
    ends: Instant,
}

/// A pull to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) lane: usize,
    pub(super) number: u64,
    pub(super) payload: String,
}

/// What a message on a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A message of the stream.
    Task,
    /// A sign that all is well.
    Alive,
    /// A status of a pull that is forgotten.
    Nothing,
    /// The pull ended as it may not: wait a little before the next one.
    Disturbed,
    /// There is no such consumer.
    Missing,
}

impl Pulls {
    pub(super) fn new(slots: usize) -> Self {
        Self { slots, lanes: Default::default(), asked: 0 }
    }

    /// How many messages may still come.
    pub(super) fn outstanding(&self) -> usize {
        self.lanes.iter().flatten().map(|pull| pull.left).sum()
    }

    /// The next pull to be sent, while `running` slots are taken.
    ///
    /// Not for each slot that becomes free, but once half of what is free has not been asked for.
    pub(super) fn ask(&mut self, running: usize, now: Instant) -> Option<Asked> {
        let lane = self.lanes.iter().position(Option::is_none)?;
        let (free, outstanding) = (self.slots.saturating_sub(running), self.outstanding());
        let unasked = free.saturating_sub(outstanding);
        if unasked == 0 || (outstanding > 0 && unasked * 2 < free) {
            return None;
        }
        let batch = unasked.min(BATCH);
        self.asked += 1;
        let number = self.asked;
        self.lanes[lane] = Some(Pull { number, left: batch, heard: now, ends: now + EXPIRES + SILENCE });
        let payload = format!(
            "{{\"batch\":{batch},\"expires\":{},\"idle_heartbeat\":{}}}",
            EXPIRES.as_nanos(),
            HEARTBEAT.as_nanos()
        );
        Some(Asked { lane, number, payload })
    }

    /// A message came to a lane.
    pub(super) fn take(&mut self, lane: usize, message: &Message, now: Instant) -> Incoming {
        let Some(slot) = self.lanes.get_mut(lane) else { return Incoming::Nothing };
        let status = match message.status {
            None | Some(StatusCode::OK) => {
                if let Some(pull) = slot {
                    pull.heard = now;
                    pull.left = pull.left.saturating_sub(1);
                    if pull.left == 0 {
                        *slot = None;
                    }
                }
                return Incoming::Task;
            }
            Some(status) => status,
        };
        // Of a pull that is over by our own count there is nothing to know.
        let Some(pull) = slot.as_mut().filter(|pull| is_of(&message.subject, pull.number)) else {
            return Incoming::Nothing;
        };
        if status == StatusCode::IDLE_HEARTBEAT {
            pull.heard = now;
            return Incoming::Alive;
        }
        // Whatever the server sent for it has come before: it sends in order.
        tracing::trace!(%status, unused = pull.left, "a pull ended");
        *slot = None;
        let description = message.description.as_deref().unwrap_or_default();
        match status {
            StatusCode::NOT_FOUND | StatusCode::TIMEOUT => Incoming::Alive,
            StatusCode::NO_RESPONDERS => Incoming::Missing,
            StatusCode::REQUEST_TERMINATED => match description {
                "Consumer Deleted" => Incoming::Missing,
                "Batch Completed" => Incoming::Alive,
                _ => Incoming::Disturbed,
            },
            _ => Incoming::Disturbed,
        }
    }

    /// What was to be asked for on this lane could not be sent.
    pub(super) fn forget(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            *lane = None;
        }
    }

    /// Forgets pulls that the server has not been heard of for too long, or that should have ended by themselves.
    pub(super) fn expire(&mut self, now: Instant) {
        for lane in &mut self.lanes {
            if lane.as_ref().is_some_and(|pull| now >= pull.ends || now >= pull.heard + SILENCE) {
                tracing::debug!("a pull is lost");
                *lane = None;
            }
        }
    }

    /// Forgets all pulls: the server does so with the connection.
    pub(super) fn reset(&mut self) {
        self.lanes = Default::default();
    }
}

/// Whether a status' subject names the pull with this number.
fn is_of(subject: &str, number: u64) -> bool {
    subject.rsplit('.').next().and_then(|token| token.parse().ok()) == Some(number)
}

#[cfg(test)]
mod tests {
    use async_nats::Subject;

    use super::*;

    fn message(subject: &str, status: Option<u16>, description: &str) -> Message {
        Message {
            subject: Subject::from(subject),
            reply: None,
            payload: bytes::Bytes::new(),
            headers: None,
            status: status.map(|status| StatusCode::from_u16(status).expect("a status")),
            description: Some(description.to_owned()),
            length: 0,
        }
    }

    fn task() -> Message {
        message("task.TASK.hello", None, "")
    }

    fn batch(asked: &Asked) -> usize {
        let rest = asked.payload.strip_prefix("{\"batch\":").expect("a batch first");
        rest[..rest.find(',').expect("more")].parse().expect("a number")
    }

    #[test]
    fn asks_for_no_more_than_is_free() {
        let (mut pulls, now) = (Pulls::new(10), Instant::now());
        let first = pulls.ask(4, now).expect("room");
        assert_eq!((first.lane, batch(&first)), (0, 6));
        assert_eq!(pulls.ask(4, now), None, "all of it has been asked for");
        for running in 5..=7 {
            assert_eq!(pulls.take(0, &task(), now), Incoming::Task);
            assert_eq!(pulls.ask(running, now), None);
        }
        assert_eq!(pulls.outstanding(), 3);
        assert_eq!(pulls.ask(6, now), None, "one of four is not worth a pull");
        let second = pulls.ask(4, now).expect("half of six");
        assert_eq!((second.lane, batch(&second)), (1, 3));
        assert_eq!(pulls.ask(0, now), None, "two at a time");
        for _ in 0..3 {
            pulls.take(0, &task(), now);
        }
        let third = pulls.ask(0, now).expect("the first is through");
        assert_eq!((third.lane, batch(&third), pulls.outstanding()), (0, 7, 10));
    }

    #[test]
    fn asks_in_large_batches_twice() {
        let (mut pulls, now) = (Pulls::new(1024), Instant::now());
        for _ in 0..LANES {
            assert_eq!(batch(&pulls.ask(0, now).expect("room")), BATCH);
        }
        assert_eq!(pulls.outstanding(), LANES * BATCH);
        assert_eq!(pulls.ask(0, now), None);
    }

    #[test]
    fn statuses_end_the_pull_that_they_name() {
        for (status, description, expected) in [
            (404, "No Messages", Incoming::Alive),
            (408, "Request Timeout", Incoming::Alive),
            (409, "Batch Completed", Incoming::Alive),
            (409, "Leadership Change", Incoming::Disturbed),
            (409, "Server Shutdown", Incoming::Disturbed),
            (409, "Exceeded MaxWaiting", Incoming::Disturbed),
            (400, "Bad Request", Incoming::Disturbed),
            (409, "Consumer Deleted", Incoming::Missing),
            (503, "", Incoming::Missing),
        ] {
            let (mut pulls, now) = (Pulls::new(8), Instant::now());
            let asked = pulls.ask(0, now).expect("room");
            let stale = message(&format!("_INBOX.x.0.{}", asked.number + 1), Some(status), description);
            assert_eq!(pulls.take(0, &stale, now), Incoming::Nothing);
            assert_eq!(pulls.outstanding(), 8);
            let named = message(&format!("_INBOX.x.0.{}", asked.number), Some(status), description);
            assert_eq!(pulls.take(0, &named, now), expected, "{status} {description}");
            assert_eq!(pulls.outstanding(), 0);
            assert_eq!(pulls.take(0, &named, now), Incoming::Nothing);
        }
    }

    #[test]
    fn heartbeats_keep_a_pull_and_silence_loses_it() {
        let (mut pulls, start) = (Pulls::new(8), Instant::now());
        let asked = pulls.ask(0, start).expect("room");
        let heartbeat = message(&format!("_INBOX.x.0.{}", asked.number), Some(100), "Idle Heartbeat");
        for beat in 1..=4 {
            let now = start + HEARTBEAT * beat;
            pulls.expire(now);
            assert_eq!(pulls.take(0, &heartbeat, now), Incoming::Alive);
        }
        let heard = start + HEARTBEAT * 4;
        pulls.expire(heard + SILENCE - Duration::from_millis(1));
        assert_eq!(pulls.outstanding(), 8);
        pulls.expire(heard + SILENCE);
        assert_eq!(pulls.outstanding(), 0);
        pulls.ask(0, heard).expect("room");
        pulls.reset();
        assert_eq!(pulls.outstanding(), 0);
        // What still comes of an old pull is taken nevertheless.
        assert_eq!(pulls.take(0, &task(), heard), Incoming::Task);
    }
}
