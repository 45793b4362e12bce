#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| narun_core_fuzz::config::check(input));
