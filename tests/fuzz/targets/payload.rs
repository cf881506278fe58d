//! See `logs::payload`.
#![no_main]

#[path = "../src/logs.rs"]
mod logs;

libfuzzer_sys::fuzz_target!(|data: &[u8]| logs::payload(data));
