//! Fuzzes the decoder `link_state`.

#![no_main]

#[allow(dead_code, reason = "each target uses one of the table")]
#[path = "../decoders.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoders::link_state(bytes));
