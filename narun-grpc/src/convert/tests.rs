use std::collections::HashSet;

use proptest::collection::btree_map;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

use super::{filter_subject, header_length, publish_subject, reply_subject, to_header_map, to_headers};
use crate::tenant::Tenant;

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
                prop_assert_eq!(name.split('.').nth(1), Some(tenant.token()));
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
