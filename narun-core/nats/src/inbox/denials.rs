use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use narun_core::Time;

/// How long a subject counts as denied: permissions may be granted while a process runs.
const VALID: Duration = Duration::from_secs(1);

/// How many subjects are remembered. Programs publish requests to a few.
const MOST: usize = 1024;

/// How many denials of inboxes the exchanges are notified of in a second: there may be one for each message.
const INBOXES_PER_SECOND: u64 = 10;

/// The subjects to which the user may not publish.
#[derive(Debug, Default)]
pub(super) struct Denials {
    /// Whether there ever was one. There is none in nearly all processes, and no lock is taken for each message.
    any: AtomicBool,
    subjects: Mutex<HashMap<String, Time>>,
    /// The current second, and how many denials of inboxes were noted in it.
    inboxes: (AtomicU64, AtomicU64),
}

impl Denials {
    /// Notes that a message to this subject was dropped; `None` is any inbox. Returns whether exchanges must be notified.
    pub(super) fn note(&self, now: Time, subject: Option<&str>) -> bool {
        let Some(subject) = subject else { return self.note_inbox(now) };
        let mut subjects = self.subjects();
        if subjects.get(subject).is_some_and(|at| now - *at < VALID) {
            return false;
        }
        if subjects.len() >= MOST {
            subjects.clear();
        }
        subjects.insert(subject.to_owned(), now);
        self.any.store(true, Ordering::Release);
        true
    }

    /// Returns whether a message to this subject would be dropped, probably.
    pub(super) fn is_denied(&self, now: Time, subject: &str) -> bool {
        self.any.load(Ordering::Acquire) && self.subjects().get(subject).is_some_and(|at| now - *at < VALID)
    }

    fn note_inbox(&self, now: Time) -> bool {
        let (second, count) = &self.inboxes;
        let now = now.since_origin().as_secs();
        if second.swap(now, Ordering::Relaxed) != now {
            count.store(0, Ordering::Relaxed);
        }
        count.fetch_add(1, Ordering::Relaxed) < INBOXES_PER_SECOND
    }

    fn subjects(&self) -> MutexGuard<'_, HashMap<String, Time>> {
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::new(Duration::from_millis(millis))
    }

    #[test]
    fn a_subject_is_denied_for_a_second() {
        let denials = Denials::default();
        assert!(!denials.is_denied(at(0), "call.TASK.app"));
        assert!(denials.note(at(0), Some("call.TASK.app")));
        assert!(!denials.note(at(500), Some("call.TASK.app")));
        assert!(denials.is_denied(at(999), "call.TASK.app"));
        assert!(!denials.is_denied(at(0), "call.TASK.other"));
        assert!(!denials.is_denied(at(1000), "call.TASK.app"));
        assert!(denials.note(at(1000), Some("call.TASK.app")));
    }

    #[test]
    fn a_few_denials_of_inboxes_are_passed_on_each_second() {
        let denials = Denials::default();
        for second in [0, 1] {
            let passed = (0..100).filter(|_| denials.note(at(1000 * second), None)).count();
            assert_eq!(passed, 10);
        }
    }
}
