//! This machine's own clock as a source of time, for as long as the kernel says that it is kept.
//!
//! What the kernel says cannot be changed without setting the clock; so the peer hears it through a
//! library that answers in the kernel's place with what a file holds.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::judge::absent;
use tests::{Network, Peer, SOON, wait_until};

/// Answers adjtimex(2) with the three numbers of the file that `KERNEL` names: status, greatest
/// error and estimated error. Whoever tries to set anything is ended.
const KERNEL: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>

int adjtimex(struct timex *said) {
    if (said->modes != 0) abort();
    memset(said, 0, sizeof *said);
    FILE *file = fopen(getenv("KERNEL"), "r");
    if (!file) abort();
    int read = fscanf(file, "%d %ld %ld", &said->status, &said->maxerror, &said->esterror);
    fclose(file);
    if (read != 3) abort();
    return said->status & STA_UNSYNC ? TIME_ERROR : TIME_OK;
}
"#;

struct Kernel {
    says: PathBuf,
    library: PathBuf,
}

impl Kernel {
    /// None where there is no C compiler.
    fn new(place: &Path) -> Option<Self> {
        let [code, library, says] = ["kernel.c", "kernel.so", "kernel"].map(|at| place.join(at));
        std::fs::write(&code, KERNEL).unwrap();
        let mut cc = Command::new("cc");
        let Ok(status) = cc.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&code).status()
        else {
            absent("cc");
            return None;
        };
        assert!(status.success(), "{status}");
        let kernel = Self { says, library };
        kernel.says("0 2000 30");
        Some(kernel)
    }

    fn says(&self, numbers: &str) {
        let new = self.says.with_extension("new");
        std::fs::write(&new, numbers).unwrap();
        std::fs::rename(&new, &self.says).unwrap();
    }

    /// Words before a command that is to hear it.
    fn words(&self) -> Vec<String> {
        let preload = format!("LD_PRELOAD={}", self.library.display());
        vec!["env".to_owned(), preload, format!("KERNEL={}", self.says.display())]
    }
}

fn status(peer: &Peer) -> Value {
    peer.ask("time", &["--json"]).ended(0).json()
}

fn source(peer: &Peer) -> Value {
    peer.ask("time sources", &["--json"]).ended(0).json()
}

/// A node that takes the time from its own machine.
fn enroll(network: &Network) -> PathBuf {
    let bundle = network.enroll("bob");
    let path = bundle.join("node.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + "\ntime: {sources: [{system: true}]}\n").unwrap();
    bundle
}

#[test]
fn a_clock_that_is_kept_is_a_source_and_no_better_than_the_kernel_says() {
    let network = Network::with(&[]);
    let Some(kernel) = Kernel::new(network.path()) else { return };
    let bob = Peer::start_as(&kernel.words(), &enroll(&network), "127.0.0.1:0", &[]);
    wait_until("bob is synchronised", SOON, || status(&bob)["state"] == "synchronised");
    let (said, row) = (status(&bob), source(&bob));
    assert_eq!((&said["root"], &said["stratum"]), (&"system".into(), &3.into()), "{said}");
    assert!(said["bound_ns"].as_u64().unwrap() >= 2_000_000, "{said}");
    assert!(said["system_ahead_ns"].as_i64().unwrap().abs() < 2_000_000, "{said}");
    assert_eq!((&row["role"], &row["nts"]), (&"local".into(), &false.into()), "{row}");

    // Its keeper falls silent: what is known grows old, and nothing new is taken from there.
    kernel.says("64 16000000 16000000");
    wait_until("the source is not heard any more", SOON, || {
        let trouble = source(&bob)["trouble"].clone();
        trouble.as_str().is_some_and(|why| why.contains("nobody keeps"))
    });
    kernel.says("64 900 20");
    wait_until("chronyd without rtcsync keeps it", SOON, || source(&bob)["trouble"].is_null());
}

#[test]
fn a_clock_that_nobody_keeps_is_not_followed() {
    let network = Network::with(&[]);
    let Some(kernel) = Kernel::new(network.path()) else { return };
    kernel.says("64 16000000 16000000");
    let bundle = enroll(&network);
    let bob = Peer::start_as(&kernel.words(), &bundle, "127.0.0.1:0", &[]);
    wait_until("it was asked", SOON, || !source(&bob)["trouble"].is_null());
    let (said, row) = (status(&bob), source(&bob));
    assert!(row["trouble"].as_str().unwrap().contains("nobody keeps"), "{row}");
    assert_eq!((&said["state"], &row["mark"]), (&"unset".into(), &"?".into()), "{said} {row}");
    let table = bob.ask("time sources", &[]).ended(0);
    assert!(table.out.contains("\nsystem: nobody keeps the system's clock"), "{}", table.out);
    bob.terminate();
    // The kernel of this machine, whatever it says.
    let checked = network.peer("time check bob.bundle");
    assert!(checked.out.contains("kept within") || checked.out.contains("nobody keeps"));
}
