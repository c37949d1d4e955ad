//! Fuzzes the decoder `shown`.

#![no_main]

#[allow(dead_code, reason = "each target uses one of the table")]
#[path = "../decoders.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoders::shown(bytes));
