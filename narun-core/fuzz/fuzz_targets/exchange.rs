//! Both sides of an exchange under any frames, in any order and at any time.

#![no_main]

#[path = "../../tests/exchange/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|script: &[u8]| script::play(script));
