//! Both sides of an exchange, joined by a simulated network that delays, loses, repeats and reorders messages.
//!
//! `NARUN_SEED=n` plays one seed and prints its messages. `NARUN_SEEDS=n` plays `n` seeds.

use std::env;

use crate::world::World;

/// Number of seeds that are played by default.
const SEEDS: u64 = 2500;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|number| number.parse().expect("a number"))
}

#[test]
fn every_exchange_ends_and_no_byte_is_wrong() {
    if let Some(seed) = number("NARUN_SEED") {
        World::new(seed, true).play();
        return;
    }
    let seeds = number("NARUN_SEEDS").unwrap_or(SEEDS);
    let mut whole = 0;
    for seed in 0..seeds {
        let played = std::panic::catch_unwind(|| World::new(seed, false).play());
        whole += u64::from(played.unwrap_or_else(|_| panic!("NARUN_SEED={seed} fails")));
    }
    // Half of them have fair weather, and must succeed.
    assert!(whole > seeds / 2, "{whole} of {seeds} came whole");
    assert!(
        whole < seeds * 19 / 20 || seeds < 100,
        "{whole} of {seeds} came whole: there was no bad weather"
    );
}
