//! See `logs::events`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cachefront_fuzz::logs::events(data));
