//! A machine whose clock is wrong is told so before its string is spent; with the clock right the
//! same string works.

use std::process::Command;

use tests::programs::{self, Said};
use tests::{Machine, Network, Online, pipe};

/// `peer join` with a clock that is so far off; `None` if there is nothing to bend it with.
fn join_at(machine: &Machine, string: &str, offset: &str) -> Option<Said> {
    if Command::new("faketime").arg("--version").output().is_err() {
        let required = std::env::var_os("CONCLAVE_JUDGES").is_some_and(|value| value == "required");
        assert!(!required, "faketime is required and not installed");
        return None;
    }
    let first = ["faketime", "-f", offset];
    let mut command = programs::command_through(&first, "peer", machine.path());
    let output = command.args(["join", string, "--no-run"]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (code, line) = (output.status.code().unwrap_or(-1), format!("peer join at {offset}"));
    Some(Said { line, code, out: text(&output.stdout), err: text(&output.stderr) })
}

#[test]
fn a_wrong_clock_is_told_and_costs_nothing() {
    let network = Network::new();
    let online = Online::start(&network);
    let wire = pipe::Pipe::to(online.address());
    let string = online.invite_to("carol", wire.address());
    let machine = Machine::new();
    for (offset, words) in [
        ("+3900s", ["h ", "ahead of the authority's"]),
        ("-3900s", ["h ", "behind the authority's"]),
        ("+31536000s", ["d ", "ahead of the authority's"]),
        ("-31536000s", ["d ", "behind the authority's"]),
        ("+360s", ["min ", "ahead of the authority's"]),
    ] {
        let Some(said) = join_at(&machine, &string, offset) else { return skipped() };
        let said = said.ended(3);
        assert!(words.iter().all(|word| said.err.contains(word)), "{said:?}");
        assert!(said.err.contains("the string is not spent"), "{said:?}");
        assert!(machine.names().is_empty(), "no key was made");
        assert_eq!(network.ca("invites --json").json()[0]["state"], "open");
    }
    // A few minutes are mentioned, and no more.
    let Some(said) = join_at(&machine, &string, "-120s") else { return skipped() };
    let said = said.ended(0);
    assert!(said.err.contains("behind the authority's"), "{said:?}");
    assert_eq!(network.ca("invites --json").json()[0]["state"], "used");
}

#[test]
fn a_string_survives_a_wrong_clock() {
    let network = Network::new();
    let online = Online::start(&network);
    let string = online.invite("carol");
    let machine = Machine::new();
    let Some(said) = join_at(&machine, &string, "+31536000s") else { return skipped() };
    let _ = said.ended(3);
    let _ = machine.join(&string).ended(0);
}

fn skipped() {
    #[allow(clippy::print_stderr, reason = "what is skipped is named")]
    {
        eprintln!("skipped: faketime is not installed");
    }
}
