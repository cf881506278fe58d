//! See `logs::statements`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cachefront_fuzz::logs::statements(data));
