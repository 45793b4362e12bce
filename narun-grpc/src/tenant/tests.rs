use std::collections::HashSet;

use proptest::prelude::{any, prop_assert, prop_assert_eq, prop_assert_ne, prop_assume, proptest};

use super::{Tenant, TenantError, escape};

/// The id with this escaped form. Returns `None` if there is no such id.
fn unescape(token: &str) -> Option<String> {
    let mut id = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        id.push(match byte {
            b'_' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            byte => byte,
        });
    }
    // A token that escape does not write has no id.
    String::from_utf8(id).ok().filter(|id| escape(id) == token)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// All names that a tenant can have for a name of its own.
fn names(tenant: &Tenant, own: &str) -> [Result<String, TenantError>; 4] {
    [tenant.subject(own), tenant.stream(own), tenant.kv_bucket(own), tenant.object_bucket(own)]
}

proptest! {
    #[test]
    fn escaping_is_reversible_and_makes_one_token(id in any::<String>()) {
        let token = escape(&id);
        prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        prop_assert_eq!(unescape(&token), Some(id));
    }

    #[test]
    fn unescaping_accepts_escaped_ids_only(token in "[A-Za-z0-9_]{0,12}") {
        if let Some(id) = unescape(&token) {
            prop_assert_eq!(escape(&id), token);
        }
    }

    #[test]
    fn plain_ids_stay_as_they_are(id in "[A-Za-z0-9]+") {
        prop_assert_eq!(escape(&id), id);
    }

    // Few characters, so that separators and escapes of two tenants meet.
    #[test]
    fn tenants_share_no_name(
        (one, other) in ("[ab._-]{1,4}", "[ab._-]{1,4}"),
        (first, second) in ("[ab_-]{1,5}", "[ab_-]{1,5}"),
    ) {
        prop_assume!((&one, &first) != (&other, &second));
        let (user, peer) = (Tenant::user(&one).unwrap(), Tenant::user(&other).unwrap());
        let organization = Tenant::organization(&other).unwrap();
        for ((user, peer), organization) in
            names(&user, &first).iter().zip(&names(&peer, &second)).zip(&names(&organization, &second))
        {
            prop_assert_ne!(user, peer);
            prop_assert_ne!(user, organization);
        }
    }

    #[test]
    fn only_the_owner_finds_its_own_name(
        (one, other) in ("[ab._-]{1,4}", "[ab._-]{1,4}"),
        own in "[ab_-]{1,5}",
    ) {
        let (owner, stranger) = (Tenant::user(&one).unwrap(), Tenant::user(&other).unwrap());
        let found = |tenant: &Tenant| {
            let [subject, stream, kv, object] = names(&owner, &own).map(Result::unwrap);
            [
                tenant.own_subject(&subject).map(str::to_owned),
                tenant.own_stream(&stream).map(str::to_owned),
                tenant.own_kv_bucket(&kv).map(str::to_owned),
                tenant.own_object_bucket(&object).map(str::to_owned),
            ]
        };
        let all = |name: Option<String>| [name.clone(), name.clone(), name.clone(), name];
        prop_assert_eq!(found(&owner), all(Some(own.clone())));
        prop_assert_eq!(found(&stranger), all((one == other).then(|| own.clone())));
    }
}

#[test]
fn ids_that_look_like_nats_syntax_are_single_tokens() {
    let ids = ["*", ">", ".", "a.b", "a b", "a\r\nPUB x", "\0", "_", "_2e", "a_2eb", "A", "a", "ä", "日本"];
    let tokens: HashSet<_> = ids.iter().map(|id| escape(id)).collect();
    assert_eq!(tokens.len(), ids.len());
    let subject = Tenant::user(">").unwrap().subject("a.*.>").unwrap();
    assert_eq!(subject, "user._3e.a.*.>");
    assert_eq!(Tenant::organization("a.b").unwrap().kv_bucket("c").unwrap(), "kv-org-a_2eb-c");
}

#[test]
fn tokens_that_escape_never_writes_have_no_id() {
    for token in ["_", "_2", "_2E", "_41", "_zz", "a-b", "é", "_ff", "_+1"] {
        assert_eq!(unescape(token), None, "{token}");
    }
}

#[test]
fn limits_of_nats_are_errors() {
    assert!(matches!(Tenant::user(""), Err(TenantError::Empty { .. })));
    for id in ["u".repeat(240), "_".repeat(80)] {
        for tenant in [Tenant::user(&id), Tenant::organization(&id)] {
            let tenant = tenant.unwrap();
            assert_eq!(tenant.token.len(), Tenant::LONGEST_TOKEN);
            assert!(names(&tenant, "b").iter().all(Result::is_ok));
        }
        assert!(matches!(Tenant::user(&format!("{id}u")), Err(TenantError::TooLong { excess: 1, .. })));
    }
    let tenant = Tenant::user("id").unwrap();
    let excess = |result: Result<String, TenantError>| match result {
        Err(TenantError::TooLong { excess, .. }) => excess,
        other => panic!("{other:?}"),
    };
    assert_eq!(tenant.stream(&"x".repeat(247)).unwrap().len(), 255);
    assert_eq!(excess(tenant.stream(&"x".repeat(248))), 1);
    assert_eq!(tenant.kv_bucket(&"x".repeat(241)).unwrap().len(), 252);
    assert_eq!(excess(tenant.kv_bucket(&"x".repeat(242))), 1);
    assert_eq!(tenant.object_bucket(&"x".repeat(239)).unwrap().len(), 251);
    assert_eq!(excess(tenant.object_bucket(&"x".repeat(240))), 1);
    assert_eq!(excess(tenant.subject(&"x".repeat(Tenant::LONGEST_SUBJECT))), 8);
    assert!(names(&tenant, "").iter().all(|name| matches!(name, Err(TenantError::Empty { .. }))));
    assert!(names(&tenant, "a b").iter().all(|name| matches!(name, Err(TenantError::BadCharacter { .. }))));
    for subject in [".a", "a.", "a..b", "a\r\nPUB b 0"] {
        assert!(matches!(tenant.subject(subject), Err(TenantError::BadCharacter { .. })), "{subject}");
    }
    assert!(tenant.stream("a.b").is_err());
    assert!(tenant.kv_bucket("ä").is_err());
}
