use std::time::Duration;

use crate::Time;

/// When the other side is asked whether it is there: 1, 2, 4 and 8 s after something last moved, then every 10 s.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::exchange) struct Watch {
    /// When it is asked, or looked at whether that is due.
    pub(in crate::exchange) at: Option<Time>,
    /// How often it was asked since something moved.
    asked: u32,
    /// When anything came last, and when something that moved the exchange on.
    heard: Time,
    moved: Time,
}

impl Watch {
    /// The longest pause.
    const LONGEST: Duration = Duration::from_secs(10);

    /// Watches from now on.
    pub(in crate::exchange) fn begin(&mut self, now: Time) {
        (self.heard, self.moved, self.asked) = (now, now, 0);
        self.schedule(now);
    }

    /// Something came.
    pub(in crate::exchange) const fn heard(&mut self, now: Time) {
        self.heard = now;
    }

    /// The exchange moved on. Made for every frame: a timer that is due too early is put off when it fires.
    pub(in crate::exchange) fn moved(&mut self, now: Time) {
        self.moved = now;
        if std::mem::take(&mut self.asked) > 0 && self.at.is_some() {
            self.schedule(now);
        }
    }

    /// Whether to ask now. If so, [`Watch::asked`] is to be called.
    pub(in crate::exchange) fn is_due(&mut self, now: Time) -> bool {
        if self.at.is_none_or(|at| at > now) {
            return false;
        }
        let earliest = self.moved + pause(0);
        if self.asked == 0 && earliest > now {
            self.at = Some(earliest);
            return false;
        }
        true
    }

    /// It was asked.
    pub(in crate::exchange) fn asked(&mut self, now: Time) {
        self.asked += 1;
        self.schedule(now);
    }

    /// It is to be asked then.
    pub(in crate::exchange) fn ask_at(&mut self, at: Time) {
        self.at = Some(at);
        self.asked = self.asked.max(1);
    }

    /// Looks again after a while, without asking.
    pub(in crate::exchange) fn put_off(&mut self, now: Time) {
        self.at = Some(now + pause(2));
    }

    /// For how long nothing has come.
    pub(in crate::exchange) fn silence(&self, now: Time) -> Duration {
        now - self.heard
    }

    /// When nothing will have come for so long.
    pub(in crate::exchange) fn silent_at(&self, silence: Duration) -> Time {
        self.heard + silence
    }

    fn schedule(&mut self, now: Time) {
        self.at = Some(now + pause(self.asked));
    }
}

fn pause(asked: u32) -> Duration {
    match asked {
        0..=3 => Duration::from_secs(1 << asked),
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
    fn asks_ever_more_rarely_until_something_moves() {
        let mut watch = Watch::default();
        watch.begin(at(0));
        for due in [1, 3, 7, 15, 25, 35] {
            assert_eq!(watch.at, Some(at(due)));
            assert!(watch.is_due(at(due)));
            watch.asked(at(due));
            watch.heard(at(due));
        }
        watch.moved(at(36));
        assert_eq!(watch.at, Some(at(37)));
    }

    #[test]
    fn is_put_off_while_something_moves() {
        let mut watch = Watch::default();
        watch.begin(at(0));
        watch.moved(at(5));
        assert_eq!(watch.at, Some(at(1)));
        assert!(!watch.is_due(at(5)));
        assert_eq!(watch.at, Some(at(6)));
        assert!(watch.is_due(at(6)));
    }

    #[test]
    fn silence_ends_with_anything_that_comes() {
        let mut watch = Watch::default();
        watch.begin(at(0));
        watch.heard(at(10));
        assert_eq!(watch.silence(at(40)), Duration::from_secs(30));
        assert_eq!(watch.silent_at(Duration::from_secs(30)), at(40));
    }
}
