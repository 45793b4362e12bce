//! Both sides of an exchange under any frames, in any order and at any time.

#[path = "../../tests/exchange/script.rs"]
mod script;

/// The input is the script.
pub fn check(input: &[u8]) {
    script::play(input);
}
