//! See `logs::json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cachefront_fuzz::logs::json(data));
