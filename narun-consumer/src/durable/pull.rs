//! Pulls: requesting as many messages as there are free slots.
//!
//! Not those of async-nats, which fetch more messages than there are free slots, and let them wait.

use std::time::Duration;

use async_nats::{Message, StatusCode};
use tokio::time::Instant;

/// The number of pulls in flight: one is sent while messages of the other still arrive.
pub(super) const LANES: usize = 2;

/// The largest number of messages in one pull.
const BATCH: usize = 256;

/// How long the server keeps a pull.
const EXPIRES: Duration = Duration::from_secs(30);

/// The interval of the server's heartbeats while it has no messages for a pull.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// After this time without a message or a heartbeat, a pull is lost.
const SILENCE: Duration = Duration::from_secs(11);

/// The pulls in flight, one for each lane.
///
/// A message does not name its pull, but is received on the subscription of a lane, and counted for the pull in flight
/// there. A status names its pull by the number at the end of the inbox.
#[derive(Debug)]
pub(super) struct Pulls {
    slots: usize,
    lanes: [Option<Pull>; LANES],
    sent: u64,
}

#[derive(Debug)]
struct Pull {
    number: u64,
    left: usize,
    /// When the last message or heartbeat arrived.
    heard: Instant,
    ends: Instant,
}

/// A pull to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PullRequest {
    pub(super) lane: usize,
    pub(super) number: u64,
    pub(super) payload: String,
}

/// The meaning of a message on a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pulled {
    /// A durable request.
    Request,
    /// A heartbeat, or the regular end of a pull.
    Alive,
    /// A status of an earlier pull.
    Stale,
    /// The pull failed: wait before the next one.
    Failed,
    /// The stream or its consumer does not exist.
    Missing,
}

impl Pulls {
    pub(super) fn new(slots: usize) -> Self {
        Self { slots, lanes: Default::default(), sent: 0 }
    }

    /// The number of messages that may still arrive.
    pub(super) fn outstanding(&self) -> usize {
        self.lanes.iter().flatten().map(|pull| pull.left).sum()
    }

    /// Returns the next pull to send, if `running` slots are in use. Returns `None` if there is no free lane or slot.
    ///
    /// A pull is not sent for each free slot, but once at least half of them have not been requested.
    pub(super) fn next(&mut self, running: usize, now: Instant) -> Option<PullRequest> {
        let lane = self.lanes.iter().position(Option::is_none)?;
        let (free, outstanding) = (self.slots.saturating_sub(running), self.outstanding());
        let unrequested = free.saturating_sub(outstanding);
        if unrequested == 0 || (outstanding > 0 && unrequested * 2 < free) {
            return None;
        }
        let batch = unrequested.min(BATCH);
        self.sent += 1;
        let number = self.sent;
        self.lanes[lane] = Some(Pull { number, left: batch, heard: now, ends: now + EXPIRES + SILENCE });
        let payload = format!(
            "{{\"batch\":{batch},\"expires\":{},\"idle_heartbeat\":{}}}",
            EXPIRES.as_nanos(),
            HEARTBEAT.as_nanos()
        );
        Some(PullRequest { lane, number, payload })
    }

    /// Counts a message that was received on a lane.
    pub(super) fn receive(&mut self, lane: usize, message: &Message, now: Instant) -> Pulled {
        let Some(slot) = self.lanes.get_mut(lane) else { return Pulled::Stale };
        let status = match message.status {
            None | Some(StatusCode::OK) => {
                if let Some(pull) = slot {
                    pull.heard = now;
                    pull.left = pull.left.saturating_sub(1);
                    if pull.left == 0 {
                        *slot = None;
                    }
                }
                return Pulled::Request;
            }
            Some(status) => status,
        };
        // A status of a pull that has ended by our count is irrelevant.
        let Some(pull) = slot.as_mut().filter(|pull| is_of(&message.subject, pull.number)) else {
            return Pulled::Stale;
        };
        if status == StatusCode::IDLE_HEARTBEAT {
            pull.heard = now;
            return Pulled::Alive;
        }
        // The server sends in order, so all messages of this pull have arrived.
        tracing::trace!(%status, unused = pull.left, "a pull ended");
        *slot = None;
        let description = message.description.as_deref().unwrap_or_default();
        match status {
            StatusCode::NOT_FOUND | StatusCode::TIMEOUT => Pulled::Alive,
            StatusCode::NO_RESPONDERS => Pulled::Missing,
            StatusCode::REQUEST_TERMINATED => match description {
                "Consumer Deleted" => Pulled::Missing,
                "Batch Completed" => Pulled::Alive,
                _ => Pulled::Failed,
            },
            _ => Pulled::Failed,
        }
    }

    /// Removes the pull on this lane, which could not be sent.
    pub(super) fn cancel(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            *lane = None;
        }
    }

    /// Removes pulls without a recent message or heartbeat, and pulls that should have ended.
    pub(super) fn expire(&mut self, now: Instant) {
        for lane in &mut self.lanes {
            if lane.as_ref().is_some_and(|pull| now >= pull.ends || now >= pull.heard + SILENCE) {
                tracing::debug!("a pull was lost");
                *lane = None;
            }
        }
    }

    /// Removes all pulls, as the server does when the connection is lost.
    pub(super) fn reset(&mut self) {
        self.lanes = Default::default();
    }
}

/// Whether the subject of a status names the pull with this number.
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

    fn request() -> Message {
        message("task.TASK.hello", None, "")
    }

    fn batch(pull: &PullRequest) -> usize {
        let rest = pull.payload.strip_prefix("{\"batch\":").expect("a batch first");
        rest[..rest.find(',').expect("more")].parse().expect("a number")
    }

    #[test]
    fn no_more_messages_are_pulled_than_slots_are_free() {
        let (mut pulls, now) = (Pulls::new(10), Instant::now());
        let first = pulls.next(4, now).expect("room");
        assert_eq!((first.lane, batch(&first)), (0, 6));
        assert_eq!(pulls.next(4, now), None, "all of them have been requested");
        for running in 5..=7 {
            assert_eq!(pulls.receive(0, &request(), now), Pulled::Request);
            assert_eq!(pulls.next(running, now), None);
        }
        assert_eq!(pulls.outstanding(), 3);
        assert_eq!(pulls.next(6, now), None, "one of four is too few for a pull");
        let second = pulls.next(4, now).expect("half of six");
        assert_eq!((second.lane, batch(&second)), (1, 3));
        assert_eq!(pulls.next(0, now), None, "two at a time");
        for _ in 0..3 {
            pulls.receive(0, &request(), now);
        }
        let third = pulls.next(0, now).expect("the first pull has ended");
        assert_eq!((third.lane, batch(&third), pulls.outstanding()), (0, 7, 10));
    }

    #[test]
    fn large_batches_are_pulled_on_both_lanes() {
        let (mut pulls, now) = (Pulls::new(1024), Instant::now());
        for _ in 0..LANES {
            assert_eq!(batch(&pulls.next(0, now).expect("room")), BATCH);
        }
        assert_eq!(pulls.outstanding(), LANES * BATCH);
        assert_eq!(pulls.next(0, now), None);
    }

    #[test]
    fn a_status_ends_the_pull_that_it_names() {
        for (status, description, expected) in [
            (404, "No Messages", Pulled::Alive),
            (408, "Request Timeout", Pulled::Alive),
            (409, "Batch Completed", Pulled::Alive),
            (409, "Leadership Change", Pulled::Failed),
            (409, "Server Shutdown", Pulled::Failed),
            (409, "Exceeded MaxWaiting", Pulled::Failed),
            (400, "Bad Request", Pulled::Failed),
            (409, "Consumer Deleted", Pulled::Missing),
            (503, "", Pulled::Missing),
        ] {
            let (mut pulls, now) = (Pulls::new(8), Instant::now());
            let pull = pulls.next(0, now).expect("room");
            let stale = message(&format!("_INBOX.x.0.{}", pull.number + 1), Some(status), description);
            assert_eq!(pulls.receive(0, &stale, now), Pulled::Stale);
            assert_eq!(pulls.outstanding(), 8);
            let named = message(&format!("_INBOX.x.0.{}", pull.number), Some(status), description);
            assert_eq!(pulls.receive(0, &named, now), expected, "{status} {description}");
            assert_eq!(pulls.outstanding(), 0);
            assert_eq!(pulls.receive(0, &named, now), Pulled::Stale);
        }
    }

    #[test]
    fn a_pull_without_heartbeats_is_lost() {
        let (mut pulls, start) = (Pulls::new(8), Instant::now());
        let pull = pulls.next(0, start).expect("room");
        let heartbeat = message(&format!("_INBOX.x.0.{}", pull.number), Some(100), "Idle Heartbeat");
        for beat in 1..=4 {
            let now = start + HEARTBEAT * beat;
            pulls.expire(now);
            assert_eq!(pulls.receive(0, &heartbeat, now), Pulled::Alive);
        }
        let heard = start + HEARTBEAT * 4;
        pulls.expire(heard + SILENCE - Duration::from_millis(1));
        assert_eq!(pulls.outstanding(), 8);
        pulls.expire(heard + SILENCE);
        assert_eq!(pulls.outstanding(), 0);
        pulls.next(0, heard).expect("room");
        pulls.reset();
        assert_eq!(pulls.outstanding(), 0);
        // Requests of an earlier pull are still accepted.
        assert_eq!(pulls.receive(0, &request(), heard), Pulled::Request);
    }
}
