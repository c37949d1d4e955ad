//! Every decoder survives its corpus, whole and cut at every byte.
//!
//! The corpus is committed; `cargo run -p tests --bin write-corpus` makes it anew from a real
//! network, with cut and damaged copies. What a fuzzer finds is added to it by hand.

use std::path::PathBuf;

use tests::tree;

#[path = "../fuzz/decoders.rs"]
mod decoders;

/// Cutting long files at every byte would take minutes; the structure is in the first bytes.
const CUTS_MAX: usize = 512;

fn folder(target: &str) -> PathBuf {
    tree::root().join("fuzz/corpus").join(target)
}

#[test]
fn every_decoder_survives_its_corpus() {
    for (target, decode) in decoders::ALL {
        let mut seeds = 0;
        for entry in std::fs::read_dir(folder(target)).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            decode(&bytes);
            let step = bytes.len() / CUTS_MAX + 1;
            (0..bytes.len()).step_by(step).for_each(|cut| decode(&bytes[..cut]));
            seeds += 1;
        }
        assert!(seeds >= 3, "{target} has {seeds} seeds");
    }
}

#[test]
fn every_fuzz_target_is_in_the_table_and_has_a_file() {
    let manifest = tree::text("fuzz/Cargo.toml");
    for (target, _) in decoders::ALL {
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
        assert!(tree::root().join(format!("fuzz/fuzz_targets/{target}.rs")).is_file(), "{target}");
    }
}
