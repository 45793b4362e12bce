//! Both sides of an exchange under arbitrary input, and joined by a simulated network.

mod actors;
mod model;
mod random;
mod script;
mod world;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_exchange_ends_once_and_in_time_under_any_script(script in prop::collection::vec(any::<u8>(), 0..200)) {
        script::play(&script);
    }
}
