//! Compares streams and consumers that exist with the wanted ones.

use std::fmt::Display;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Config as Consumer, PriorityPolicy};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

/// The first difference that breaks a guarantee, as text that follows "has".
pub(super) fn stream_difference(wanted: &Config, found: &Config) -> Option<String> {
    let sorted = |config: &Config| {
        let mut subjects = config.subjects.clone();
        subjects.sort();
        subjects.join(", ")
    };
    let differences = [
        unequal("retention", retention(wanted), retention(found)),
        unequal("subjects", &sorted(wanted), &sorted(found)),
        unequal("discard policy", discard(wanted), discard(found)),
        unequal("storage", storage(wanted), storage(found)),
        (found.num_replicas < wanted.num_replicas)
            .then(|| format!("{} replicas, not {}", found.num_replicas, wanted.num_replicas)),
        (found.duplicate_window < wanted.duplicate_window).then(|| {
            format!("a duplicate window of {:?}, not {:?}", found.duplicate_window, wanted.duplicate_window)
        }),
        (age(found) < age(wanted)).then(|| {
            format!("a maximum age of {}, not {}", age_text(found.max_age), age_text(wanted.max_age))
        }),
        // Whatever the discard policy, the oldest message of the subject is deleted when it is reached.
        (limit(found.max_messages_per_subject) < limit(wanted.max_messages_per_subject))
            .then(|| format!("a limit of {} messages of a subject", found.max_messages_per_subject)),
        found.no_ack.then(|| "acknowledgements turned off".to_owned()),
        found.sealed.then(|| "been sealed".to_owned()),
    ];
    differences.into_iter().flatten().next()
}

/// Differences that are logged: they break no guarantee.
pub(super) fn stream_warnings(wanted: &Config, found: &Config) -> Vec<String> {
    let warnings = [
        unequal("maximum messages", &limit(wanted.max_messages), &limit(found.max_messages)),
        unequal("maximum bytes", &limit(wanted.max_bytes), &limit(found.max_bytes)),
        unequal(
            "maximum message size",
            &limit(wanted.max_message_size.into()),
            &limit(found.max_message_size.into()),
        ),
        unequal("replicas", &wanted.num_replicas, &found.num_replicas),
        unequal("maximum age", &age_text(wanted.max_age), &age_text(found.max_age)),
    ];
    warnings.into_iter().flatten().collect()
}

/// The first difference that breaks a guarantee, as text that follows "has".
pub(super) fn consumer_difference(wanted: &Consumer, found: &Consumer) -> Option<String> {
    let filters = |config: &Consumer| match config.filter_subjects.as_slice() {
        [] => config.filter_subject.clone(),
        filters => filters.join(", "),
    };
    let differences = [
        unequal("filter", &filters(wanted), &filters(found)),
        found.deliver_subject.is_some().then(|| "push delivery, not pull".to_owned()),
        (found.ack_policy != AckPolicy::Explicit).then(|| "an ack policy that is not explicit".to_owned()),
        // After the last delivery a message would stay in the stream for ever, unnoticed.
        (found.max_deliver > 0).then(|| format!("{} deliveries at most, not unlimited", found.max_deliver)),
        found.headers_only.then(|| "headers only, not payloads".to_owned()),
        (found.priority_policy != PriorityPolicy::None)
            .then(|| "a priority policy, which needs other pulls".to_owned()),
    ];
    differences.into_iter().flatten().next()
}

/// Differences that are logged: they break no guarantee.
pub(super) fn consumer_warnings(wanted: &Consumer, found: &Consumer) -> Vec<String> {
    let warnings = [
        unequal("unacknowledged messages", &limit(wanted.max_ack_pending), &limit(found.max_ack_pending)),
        unequal("ack wait", &age_text(wanted.ack_wait), &age_text(ack_wait(found))),
        unequal("state in memory", &wanted.memory_storage, &found.memory_storage),
    ];
    warnings.into_iter().flatten().collect()
}

/// The shortest time without an acknowledgement after which a message is delivered again.
pub(super) fn ack_wait(found: &Consumer) -> Duration {
    found.backoff.iter().copied().fold(found.ack_wait, Duration::min)
}

fn unequal<T: PartialEq + Display + ?Sized>(what: &str, wanted: &T, found: &T) -> Option<String> {
    (wanted != found).then(|| format!("{what} {found}, not {wanted}"))
}

const fn retention(config: &Config) -> &'static str {
    match config.retention {
        RetentionPolicy::Limits => "limits",
        RetentionPolicy::Interest => "interest",
        RetentionPolicy::WorkQueue => "work queue",
    }
}

const fn discard(config: &Config) -> &'static str {
    match config.discard {
        DiscardPolicy::Old => "old",
        DiscardPolicy::New => "new",
    }
}

const fn storage(config: &Config) -> &'static str {
    match config.storage {
        StorageType::File => "file",
        StorageType::Memory => "memory",
    }
}

/// A limit of the server, where zero and less mean unlimited.
fn limit(limit: i64) -> Limit {
    Limit(u64::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(u64::MAX))
}

#[derive(PartialEq, PartialOrd)]
struct Limit(u64);

impl Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            u64::MAX => f.write_str("unlimited"),
            limit => write!(f, "{limit}"),
        }
    }
}

fn age(config: &Config) -> Duration {
    if config.max_age.is_zero() { Duration::MAX } else { config.max_age }
}

fn age_text(age: Duration) -> String {
    if age.is_zero() { "none".to_owned() } else { format!("{age:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn stream(max_age: Duration, num_replicas: usize, max_messages: i64) -> Config {
        Config { max_age, num_replicas, max_messages, ..Config::default() }
    }

    #[test]
    fn an_earlier_loss_of_messages_breaks_a_guarantee() {
        let difference = |wanted, found| stream_difference(&wanted, &found);
        let asked = stream(HOUR, 3, 10);
        assert_eq!(difference(asked.clone(), asked.clone()), None);
        assert_eq!(difference(asked.clone(), stream(2 * HOUR, 5, 10)), None);
        assert_eq!(difference(asked.clone(), stream(Duration::ZERO, 3, 10)), None);
        assert_eq!(difference(asked.clone(), stream(HOUR, 1, 10)).unwrap(), "1 replicas, not 3");
        let shorter = stream(HOUR / 2, 3, 10);
        assert_eq!(difference(asked, shorter).unwrap(), "a maximum age of 1800s, not 3600s");
        let (never, aged) = (stream(Duration::ZERO, 1, 10), stream(HOUR, 1, 10));
        assert_eq!(difference(never, aged).unwrap(), "a maximum age of 3600s, not none");
    }

    #[test]
    fn other_differences_are_warnings() {
        let warnings = |max_messages| stream_warnings(&stream(HOUR, 1, -1), &stream(HOUR, 1, max_messages));
        assert_eq!(warnings(0), [""; 0]);
        assert_eq!(warnings(5), ["maximum messages 5, not unlimited"]);
        let bounded = Consumer { max_ack_pending: 1000, ..Consumer::default() };
        assert_eq!(consumer_difference(&Consumer::default(), &bounded), None);
        assert_eq!(
            consumer_warnings(&Consumer::default(), &bounded),
            ["unacknowledged messages 1000, not unlimited"]
        );
    }

    #[test]
    fn the_shortest_wait_applies() {
        let seconds = Duration::from_secs;
        let found =
            Consumer { ack_wait: seconds(5), backoff: vec![seconds(2), seconds(9)], ..Consumer::default() };
        assert_eq!(ack_wait(&found), seconds(2));
        assert_eq!(ack_wait(&Consumer { backoff: Vec::new(), ..found }), seconds(5));
    }
}
