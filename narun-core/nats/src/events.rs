//! Events that repeat, and how often they are logged.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// How long events of a kind are counted after the first one.
const WINDOW: Duration = Duration::from_secs(10);
/// The most kinds that are counted at a time. Events of further kinds are dropped.
const MOST: usize = 1000;

/// Limits how often events of a kind `K` are logged: the first one at once, the ones of the next 10 s as one summary.
///
/// While nothing [summarizes](Self::summarize) them, the first one of each 20 s is logged, and the others are not.
/// Costs a lock for each event, so it is for failures.
#[derive(Debug)]
pub struct RepeatedEvents<K> {
    counted: Mutex<HashMap<K, Window>>,
    /// Notified when the first event of a kind was counted.
    begun: Notify,
}

/// The events of a kind that were not logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many events.
    pub count: u64,
    /// What the last one was about, such as the id of a request.
    pub last: String,
}

/// The current window of a kind.
#[derive(Debug)]
struct Window {
    began: Instant,
    summary: Summary,
}

impl<K> Default for RepeatedEvents<K> {
    fn default() -> Self {
        Self { counted: Mutex::default(), begun: Notify::new() }
    }
}

impl<K: Clone + Eq + Hash> RepeatedEvents<K> {
    /// Counts an event about `id`. Returns whether it is the first of its kind, which the caller logs.
    pub fn is_first(&self, kind: &K, id: &str) -> bool {
        let (mut counted, now) = (self.lock(), Instant::now());
        if let Some(window) = counted.get_mut(kind).filter(|window| now - window.began < 2 * WINDOW) {
            let summary = &mut window.summary;
            summary.count += 1;
            summary.last.clear();
            summary.last.push_str(id);
            return false;
        }
        if counted.len() >= MOST {
            // Windows that nothing has ended.
            counted.retain(|_, window| now - window.began < 2 * WINDOW);
        }
        if counted.len() >= MOST {
            return false;
        }
        counted.insert(kind.clone(), Window { began: now, summary: Summary::default() });
        self.begun.notify_one();
        true
    }

    /// Calls `log` each 10 s with the events that were not logged. Never completes. Cancel safe, except that the events which
    /// were counted since the last call of `log` are forgotten with this value.
    pub async fn summarize(&self, mut log: impl FnMut(K, Summary)) {
        loop {
            while !self.lock().is_empty() {
                sleep(WINDOW).await;
                for (kind, summary) in self.take() {
                    log(kind, summary);
                }
            }
            self.begun.notified().await;
        }
    }

    /// Takes the summaries, and forgets the kinds that did not repeat: their next event is a first one again.
    fn take(&self) -> Vec<(K, Summary)> {
        let (mut counted, now) = (self.lock(), Instant::now());
        counted.retain(|_, window| window.summary.count > 0);
        let take = |(kind, window): (&K, &mut Window)| {
            window.began = now;
            (kind.clone(), std::mem::take(&mut window.summary))
        };
        counted.iter_mut().map(take).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Window>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::{advance, timeout};

    use super::*;

    /// The summaries of the next `windows`.
    async fn summaries(
        events: &RepeatedEvents<&'static str>,
        windows: u32,
    ) -> Vec<(&'static str, u64, String)> {
        let mut all = Vec::new();
        let log = |kind, summary: Summary| all.push((kind, summary.count, summary.last));
        let ended = timeout(WINDOW * windows + WINDOW / 2, events.summarize(log)).await;
        assert!(ended.is_err());
        all.sort();
        all
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_event_of_a_kind_is_logged_and_the_others_are_counted() {
        let events = RepeatedEvents::default();
        assert!(events.is_first(&"a", "1"));
        assert!(events.is_first(&"b", "2"));
        assert!(!events.is_first(&"a", "3"));
        assert!(!events.is_first(&"a", "4"));
        assert_eq!(summaries(&events, 1).await, [("a", 2, "4".to_owned())]);
        assert!(!events.is_first(&"a", "5"), "the summary begins a window");
        assert!(events.is_first(&"b", "6"), "a window without a repetition ends the kind");
    }

    #[tokio::test(start_paused = true)]
    async fn without_summaries_an_event_is_logged_now_and_then() {
        let events = RepeatedEvents::default();
        assert!(events.is_first(&"a", ""));
        advance(2 * WINDOW - Duration::from_millis(1)).await;
        assert!(!events.is_first(&"a", ""));
        advance(Duration::from_millis(1)).await;
        assert!(events.is_first(&"a", ""));
        assert!(!events.is_first(&"a", "1"));
        assert_eq!(summaries(&events, 1).await, [("a", 1, "1".to_owned())], "those of the last window");
    }

    #[tokio::test(start_paused = true)]
    async fn summaries_end_with_the_events() {
        let events = Arc::new(RepeatedEvents::default());
        let summarized = events.clone();
        let task = tokio::spawn(async move { summarized.summarize(|_, _| {}).await });
        assert!(events.is_first(&"a", ""));
        assert!(!events.is_first(&"a", ""));
        for _ in 0..3 {
            tokio::task::yield_now().await;
            advance(WINDOW).await;
            tokio::task::yield_now().await;
        }
        assert!(events.is_first(&"a", ""));
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn kinds_are_bounded() {
        let events = RepeatedEvents::default();
        let first = (0..2 * MOST).filter(|kind| events.is_first(kind, "")).count();
        assert_eq!((first, events.lock().len()), (MOST, MOST));
        advance(2 * WINDOW).await;
        assert!(events.is_first(&(2 * MOST), ""));
    }
}
