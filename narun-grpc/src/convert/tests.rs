use std::collections::HashSet;
use std::time::Duration;

use proptest::collection::btree_map;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

use super::{
    LONGEST, covers, duration, filter_subject, header_length, patience, publish_subject, read_time,
    reply_subject, to_header_map, to_headers,
};
use crate::tenant::{Tenant, escape};

/// Text in which what NATS treats specially is likely.
fn hostile() -> impl Strategy<Value = String> {
    proptest::string::string_regex("([ab]|[.*>$_ -]|[\\r\\n\\t\u{0}]|ä|[.]){0,12}")
        .expect("a sound expression")
}

proptest! {
    #[test]
    fn subjects_stay_the_tenants_own(id in hostile(), subject in hostile(), any_subject in any::<String>()) {
        let Ok(tenant) = Tenant::user(&id) else { return Ok(()) };
        for subject in [subject, any_subject] {
            let names = [publish_subject(&tenant, &subject), filter_subject(&tenant, &subject)];
            for name in names.iter().flatten() {
                prop_assert!(name.starts_with("user."));
                // The second token is the id, whatever it is.
                prop_assert_eq!(name.split('.').nth(1).map(str::to_owned), Some(escape(&id)));
                prop_assert_eq!(tenant.own_subject(name), Some(subject.as_str()));
                prop_assert!(!name.contains(|character: char| character.is_whitespace() || character.is_control()));
                prop_assert!(name.split('.').all(|token| !token.is_empty()));
            }
            if let Ok(name) = &names[0] {
                prop_assert!(name.split('.').all(|token| token != "*" && token != ">"));
                prop_assert!(names[1].is_ok());
            }
            if let Ok(Some(reply)) = reply_subject(&tenant, "user.a.b", &subject) {
                prop_assert_eq!(Some(&reply), names[0].as_ref().ok());
            }
        }
    }

    #[test]
    fn headers_are_taken_whole_or_refused(
        headers in btree_map("(Nats-|KV-|kv-|NATS-)?[ -~\\r\\n\u{0}ä]{0,6}", "[ -~\\t\\r\\nä]{0,8}", 0..4),
    ) {
        let allowed = HashSet::from(["nats-msg-id".to_owned()]);
        let Ok(map) = to_header_map(&allowed, &headers) else { return Ok(()) };
        prop_assert_eq!(map.is_none(), headers.is_empty());
        prop_assert_eq!(to_headers(map.as_ref()), headers.clone());
        for (name, value) in &headers {
            let lower = name.to_ascii_lowercase();
            prop_assert!(lower == "nats-msg-id" || !(lower.starts_with("nats-") || lower.starts_with("kv-")));
            prop_assert!(name.is_ascii() && !name.contains([':', ' ', '\r', '\n', '\0']));
            prop_assert!(value.is_ascii() && !value.contains(['\r', '\n', '\0']));
        }
        let text: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        prop_assert_eq!(header_length(map.as_ref()), if headers.is_empty() { 0 } else { text + 12 });
    }
}

#[test]
fn durations_are_what_jetstream_can_count() {
    let of = |seconds: i64, nanos: i32| prost_types::Duration { seconds, nanos };
    let (second, millisecond) = (Duration::from_secs(1), Duration::from_millis(1));
    for (given, read) in [
        (of(0, 0), Some(Duration::ZERO)),
        (of(1, 1_000_000), Some(second + millisecond)),
        (of(0, 2_000_000_000), Some(second * 2)),
        (of(9_223_372_036, 854_775_807), Some(LONGEST)),
        (of(9_223_372_036, 854_775_808), None),
        (of(i64::MAX, i32::MAX), None),
        (of(i64::MIN, 0), None),
        (of(i64::MIN, i32::MIN), None),
        (of(0, -1), None),
        (of(-1, 0), None),
        (of(1, i32::MIN), None),
    ] {
        assert_eq!(duration("it", Some(&given)).ok().flatten(), read, "{given:?}");
    }
    assert_eq!(duration("it", None).unwrap(), None);
    assert_eq!(patience(None, second), second);
    assert_eq!(patience(Some(&of(i64::MIN, i32::MIN)), second), Duration::ZERO);
    assert_eq!(patience(Some(&of(i64::MAX, i32::MAX)), second), LONGEST);
}

#[test]
fn times_are_of_the_years_that_protobuf_has() {
    let read = |seconds: i64, nanos: i32| read_time(&prost_types::Timestamp { seconds, nanos });
    for (seconds, nanos) in [(0, 0), (-1, 999_999_999), (-62_135_596_800, 0), (253_402_300_799, 999_999_999)]
    {
        let found = read(seconds, nanos).expect("a time");
        assert_eq!((found.unix_timestamp(), found.nanosecond()), (seconds, nanos.cast_unsigned()));
    }
    for (seconds, nanos) in [
        (i64::MAX, 0),
        (i64::MIN, 0),
        (i64::MIN, i32::MIN),
        (-62_135_596_801, 0),
        (253_402_300_800, 0),
        (0, -1),
        (0, 1_000_000_000),
    ] {
        assert_eq!(read(seconds, nanos), None, "{seconds} {nanos}");
    }
}

#[test]
fn filters_cover_what_nats_gives_them() {
    for (filter, subject, covered) in [
        ("a.b", "a.b", true),
        ("a.b", "a.c", false),
        ("a.b", "a", false),
        ("a", "a.b", false),
        ("a.*", "a.b", true),
        ("a.*", "a", false),
        ("a.*", "a.b.c", false),
        ("*.b", "a.b", true),
        ("a.>", "a.b.c", true),
        ("a.>", "a", false),
        (">", "a", true),
        ("a.*.c", "a.*.c", true),
    ] {
        assert_eq!(covers(filter, subject), covered, "{filter} {subject}");
    }
}
