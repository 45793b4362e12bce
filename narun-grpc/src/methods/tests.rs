//! Many tenants with hostile ids and names: no two of them may share a NATS name.

use std::collections::HashMap;

use rand::RngExt;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::convert::{covers, filter_subject, publish_subject};
use crate::methods::{kv, objects};
use crate::tenant::{Tenant, escape};

/// The number of tenants that attack each other: 100,128 pairs.
const ATTACKERS: usize = 448;

/// The parts of ids and names, with everything that joins or escapes names here or in NATS.
const PIECES: [&str; 40] = [
    "a", "b", "A", "user", "org", "kv", "obj", "KV_", "OBJ_", "M", "C", "-", "-", "-", ".", ".", "_", "_",
    "*", ">", "$", "/", "=", " ", "\t", "\0", "\r\n", "_2d", "_2e", "_5f", "_5f2d", "%2e", "2d", "ä", "日",
    "\u{301}", "user-a-", "user.a.", "_INBOX", "$KV.",
];

/// All NATS names that a tenant's calls with one name can lead to.
struct Attacker {
    tenant: Tenant,
    /// Subjects and streams, which no two tenants may share.
    names: Vec<String>,
    /// Filters of subscriptions and streams, which may have wildcards.
    filters: Vec<String>,
}

fn text(rng: &mut StdRng) -> String {
    match rng.random_range(0..50) {
        0 => String::new(),
        1 => PIECES[rng.random_range(0..PIECES.len())].repeat(rng.random_range(80..400)),
        _ => (0..rng.random_range(1..6)).map(|_| PIECES[rng.random_range(0..PIECES.len())]).collect(),
    }
}

fn attacker(id: &str, name: &str, organization: bool) -> Option<Attacker> {
    let tenant = if organization { Tenant::organization(id) } else { Tenant::user(id) }.ok()?;
    let (mut names, mut filters) = (Vec::new(), Vec::new());
    names.extend(publish_subject(&tenant, name));
    names.extend(tenant.stream(name));
    filters.extend(filter_subject(&tenant, name));
    filters.extend(filter_subject(&tenant, ">"));
    // Keys and objects in buckets, each with hostile names.
    for (bucket, key) in [(name, "k"), ("b", name), (name, name)] {
        if let Ok((stream, subject)) = kv::names(&tenant, bucket, key) {
            filters.push(format!("{}.>", subject.split('.').take(2).collect::<Vec<_>>().join(".")));
            names.extend([stream, subject]);
        }
        if let Ok((stream, meta, chunks)) = objects::names(&tenant, bucket, key) {
            filters.push(format!("{}.>", meta.split('.').take(2).collect::<Vec<_>>().join(".")));
            names.extend([stream, meta, chunks]);
        }
    }
    Some(Attacker { tenant, names, filters })
}

#[test]
fn no_two_tenants_share_a_name() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut attackers: HashMap<Tenant, Attacker> = HashMap::new();
    while attackers.len() < ATTACKERS {
        // The same text, split into an id and a name at many places.
        let whole = text(&mut rng);
        for cut in (0..=whole.len()).filter(|cut| whole.is_char_boundary(*cut)).take(12) {
            let (id, name) = whole.split_at(cut);
            for (id, name) in [(id, name), (&escape(id), name), (id, &whole), (&whole, name)] {
                if let Some(attacker) = attacker(id, name, rng.random_bool(0.2)) {
                    attackers.insert(attacker.tenant.clone(), attacker);
                }
            }
        }
    }
    let attackers: Vec<_> = attackers.into_values().collect();
    let (mut pairs, mut names) = (0, 0);
    for (index, one) in attackers.iter().enumerate() {
        for other in &attackers[..index] {
            pairs += 1;
            for (one, other) in [(one, other), (other, one)] {
                for name in &one.names {
                    assert!(
                        !other.names.contains(name),
                        "{name:?} of {:?} and {:?}",
                        one.tenant,
                        other.tenant
                    );
                    assert_eq!(other.tenant.own_subject(name), None, "{name:?}");
                    assert_eq!(other.tenant.own_stream(name), None, "{name:?}");
                    assert!(
                        !other.filters.iter().any(|filter| covers(filter, name)),
                        "{name:?} of {:?} is in {:?} of {:?}",
                        one.tenant,
                        other.filters,
                        other.tenant
                    );
                    names += 1;
                }
            }
        }
    }
    assert!(pairs >= 100_000 && names > pairs * 4, "{pairs} {names}");
}
