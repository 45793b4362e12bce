use std::time::Duration;

use crate::Time;

/// When to send PROBE to the other side: 1, 2, 4 and 8 s after the last progress, and then every 10 s.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::exchange) struct Watch {
    /// When to check whether a PROBE is due. `None` if the other side is not watched.
    pub(in crate::exchange) at: Option<Time>,
    /// Number of PROBEs since the last progress.
    probes: u32,
    /// When the last frame arrived, and when the exchange last made progress.
    heard: Time,
    moved: Time,
}

impl Watch {
    /// Longest pause between two PROBEs.
    const LONGEST: Duration = Duration::from_secs(10);

    /// Starts to watch the other side.
    pub(in crate::exchange) fn begin(&mut self, now: Time) {
        (self.heard, self.moved, self.probes) = (now, now, 0);
        self.schedule(now);
    }

    /// Notes that a frame arrived.
    pub(in crate::exchange) const fn heard(&mut self, now: Time) {
        self.heard = now;
    }

    /// Notes progress. It is called for every frame, so it does not move the timer: a timer that fires too early is put
    /// off then.
    pub(in crate::exchange) fn moved(&mut self, now: Time) {
        self.moved = now;
        if std::mem::take(&mut self.probes) > 0 && self.at.is_some() {
            self.schedule(now);
        }
    }

    /// Returns whether a PROBE is due. If it is, [`Watch::probed`] must follow.
    pub(in crate::exchange) fn is_due(&mut self, now: Time) -> bool {
        if self.at.is_none_or(|at| at > now) {
            return false;
        }
        let earliest = self.moved + pause(0);
        if self.probes == 0 && earliest > now {
            self.at = Some(earliest);
            return false;
        }
        true
    }

    /// Notes that a PROBE was sent.
    pub(in crate::exchange) fn probed(&mut self, now: Time) {
        self.probes += 1;
        self.schedule(now);
    }

    /// Schedules a PROBE.
    pub(in crate::exchange) fn probe_at(&mut self, at: Time) {
        self.at = Some(at);
        self.probes = self.probes.max(1);
    }

    /// Checks again later, without a PROBE.
    pub(in crate::exchange) fn put_off(&mut self, now: Time) {
        self.at = Some(now + pause(2));
    }

    /// Returns how long no frame has arrived.
    pub(in crate::exchange) fn silence(&self, now: Time) -> Duration {
        now - self.heard
    }

    /// Returns when no frame will have arrived for `silence`.
    pub(in crate::exchange) fn silent_at(&self, silence: Duration) -> Time {
        self.heard + silence
    }

    fn schedule(&mut self, now: Time) {
        self.at = Some(now + pause(self.probes));
    }
}

fn pause(probes: u32) -> Duration {
    match probes {
        0..=3 => Duration::from_secs(1 << probes),
        _ => Watch::LONGEST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::new(Duration::from_secs(seconds))
    }

    #[test]
    fn probes_become_rarer_until_there_is_progress() {
        let mut watch = Watch::default();
        watch.begin(at(0));
        for due in [1, 3, 7, 15, 25, 35] {
            assert_eq!(watch.at, Some(at(due)));
            assert!(watch.is_due(at(due)));
            watch.probed(at(due));
            watch.heard(at(due));
        }
        watch.moved(at(36));
        assert_eq!(watch.at, Some(at(37)));
    }

    #[test]
    fn progress_puts_the_probe_off() {
        let mut watch = Watch::default();
        watch.begin(at(0));
        watch.moved(at(5));
        assert_eq!(watch.at, Some(at(1)));
        assert!(!watch.is_due(at(5)));
        assert_eq!(watch.at, Some(at(6)));
        assert!(watch.is_due(at(6)));
    }

    #[test]
    fn any_frame_ends_the_silence() {
        let mut watch = Watch::default();
        watch.begin(at(0));
        watch.heard(at(10));
        assert_eq!(watch.silence(at(40)), Duration::from_secs(30));
        assert_eq!(watch.silent_at(Duration::from_secs(30)), at(40));
    }
}
