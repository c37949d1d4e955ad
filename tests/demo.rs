//! The demonstration shows what it promises, and ends all that it started.

use std::process::Command;
use std::time::{Duration, Instant};

use tests::{programs, tree};

#[test]
fn the_demonstration_runs_within_a_minute() {
    let bin = programs::path_of("peer").parent().unwrap().to_owned();
    let begun = Instant::now();
    let output = Command::new("bash")
        .arg(tree::root().join("tests/demo.sh"))
        .env("BIN", bin)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{wrong}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let (_, shown) = said.split_once("Shown:").unwrap();
    for line in ["three nodes joined", "foreign-authority", "cut on 2/2 peers", "(revoked)"] {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
}
