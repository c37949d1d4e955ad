//! The rules of the house, read off the tree: sizes, edges between crates, first lines, words.

use std::collections::BTreeSet;
use std::path::Path;

use shared::refusal::Code;
use tests::tree;

const FILE_LINES_MAX: usize = 500;
/// A bench of scenarios may be longer than a room, but not without end.
const PROOF_LINES_MAX: usize = 700;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;

/// Who may use whom, as ARCHITECTURE.md draws it.
const EDGES: [(&str, &[&str]); 12] = [
    ("shared", &[]),
    ("shared/timex", &[]),
    ("shared/host", &["shared", "timex"]),
    ("shared/tls", &["shared"]),
    ("peer/core", &["shared"]),
    ("peer/mqtt", &["shared"]),
    ("peer/clock", &["shared"]),
    ("peer/nts", &[]),
    ("ca-tool", &["shared", "host", "tls", "peer"]),
    ("peer", &["shared", "host", "tls", "peer-core", "mqtt", "clock", "nts"]),
    ("peer/sim", &["shared", "peer-core"]),
    (
        "benches",
        &["shared", "host", "tls", "peer", "peer-core", "mqtt", "clock", "nts", "ca-tool", "sim"],
    ),
];
const OURS: [&str; 11] = [
    "shared",
    "timex",
    "host",
    "tls",
    "peer-core",
    "mqtt",
    "clock",
    "nts",
    "peer",
    "ca-tool",
    "sim",
];

fn sources() -> Vec<(String, String)> {
    let root = tree::root();
    let name = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    tree::files("rs").iter().map(|path| (name(path), read(path))).collect()
}

/// The part of a file that is built into programs.
fn production(text: &str) -> Vec<&str> {
    text.lines().take_while(|line| *line != "#[cfg(test)]").collect()
}

fn is_proof(name: &str) -> bool {
    name.contains("tests/") || name.ends_with("tests.rs") || name.starts_with("fuzz/")
}

#[test]
fn every_file_says_first_what_it_is() {
    for (name, text) in sources() {
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 12, "{name}: {first:?}");
    }
}

#[test]
fn no_file_and_no_line_is_too_long() {
    for (name, text) in sources() {
        let lines = production(&text);
        let max = if is_proof(&name) { PROOF_LINES_MAX } else { FILE_LINES_MAX };
        assert!(lines.len() <= max, "{name} has {} lines", lines.len());
        for (at, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            assert!(columns <= COLUMNS_MAX, "{name}:{} has {columns} columns", at + 1);
        }
    }
}

#[test]
fn no_function_is_too_long_or_too_deep() {
    for (name, text) in sources() {
        for (function, lines, deepest) in functions(&production(&text)) {
            assert!(lines <= FUNCTION_LINES_MAX, "{name}: {function} has {lines} lines");
            // rustfmt puts each level of blocks, arguments and chains at four columns more.
            assert!(deepest <= 7, "{name}: {function} is {deepest} levels deep");
        }
    }
}

/// Each function's first line, its length, and its deepest indentation relative to it.
fn functions(lines: &[&str]) -> Vec<(String, usize, usize)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let words = line.trim_start();
        let begins = ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn ", "async fn "];
        let begins = begins.iter().any(|b| words.starts_with(b)) || words.starts_with("pub async");
        if !begins {
            continue;
        }
        let closing = format!("{}}}", " ".repeat(indent(line)));
        let Some(length) = lines[at..].iter().position(|line| **line == closing) else { continue };
        let body = &lines[at..=at + length];
        let deepest = body.iter().map(|line| indent(line)).max().unwrap_or(0) - indent(line);
        found.push((words.to_owned(), length + 1, deepest / 4));
    }
    found
}

#[test]
fn crates_use_only_what_the_drawing_lets_them() {
    for (krate, allowed) in EDGES {
        let manifest = tree::text(&format!("{krate}/Cargo.toml"));
        let used: BTreeSet<&str> = manifest
            .lines()
            .filter_map(|line| line.split_once([' ', '.', '=']).map(|(name, _)| name))
            .filter(|name| OURS.contains(name))
            .collect();
        let wrong: Vec<_> = used.iter().filter(|name| !allowed.contains(name)).collect();
        assert!(wrong.is_empty(), "{krate} uses {wrong:?}");
    }
}

#[test]
fn pure_crates_have_nothing_to_be_impure_with() {
    for krate in ["shared", "peer/core", "peer/clock", "peer/nts"] {
        let manifest = tree::text(&format!("{krate}/Cargo.toml"));
        for banned in ["tokio", "rustls.", "socket2", "rustix", "redb", "tracing", "clap"] {
            let found = manifest.lines().any(|line| line.starts_with(banned));
            assert!(!found, "{krate} depends on {banned}");
        }
        assert!(tree::text(&format!("{krate}/clippy.toml")).contains("disallowed-methods"));
    }
}

#[test]
fn clap_is_known_to_the_command_lines_only() {
    for (name, text) in sources() {
        let knows = production(&text).iter().any(|line| line.contains("clap::"));
        let door = name.ends_with("/cli.rs") || name.contains("/src/cli/");
        let may = door || name.starts_with("tests/");
        assert!(!knows || may, "{name} knows clap");
    }
}

#[test]
fn every_dependency_says_what_it_gives() {
    let manifest = tree::text("Cargo.toml");
    let lines: Vec<&str> = manifest.lines().collect();
    let begin = lines.iter().position(|line| *line == "[workspace.dependencies]").unwrap();
    for at in begin + 1..lines.len() {
        if lines[at].starts_with('[') {
            break;
        }
        let is_theirs = lines[at].contains(" = ") && !lines[at].contains("path = ");
        assert!(!is_theirs || lines[at - 1].starts_with("# "), "{}", lines[at]);
    }
}

#[test]
fn every_bound_has_its_argument() {
    let files = [
        "shared/src/limits.rs",
        "peer/core/src/limits.rs",
        "peer/clock/src/limits.rs",
        "peer/nts/src/limits.rs",
        "peer/src/limits.rs",
    ];
    for file in files.into_iter().filter(|file| tree::root().join(file).is_file()) {
        let text = tree::text(file);
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(" const ")) {
            assert!(at > 0 && lines[at - 1].trim_start().starts_with("///"), "{file}: {line}");
        }
    }
}

#[test]
fn the_documented_refusals_are_the_refusals() {
    let text = tree::text("docs/refusals.md");
    let documented: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("## `")?.strip_suffix('`')).collect();
    let known: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(documented, known);
}

#[test]
fn the_documented_codes_of_joining_are_the_codes() {
    let text = tree::text("docs/joining.md");
    let documented: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    let known: Vec<&str> = shared::join::Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(documented, known);
    for part in text.split("### `").skip(1) {
        let (cause, remedy) = part.split_once("**Remedy.**").unwrap();
        assert!(cause.contains("**Cause.**") && remedy.trim().len() > 10, "{part}");
    }
}

#[test]
fn nothing_names_a_machine_or_puts_things_off() {
    // Put together here, so that this file does not name them either.
    let words = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["/ro", "ot/"], ["/ho", "me/"]];
    let banned: Vec<String> = words.iter().map(|word| word.concat()).collect();
    for extension in ["rs", "toml", "md", "sh", "yaml", "service"] {
        for path in tree::files(extension) {
            let text = std::fs::read_to_string(&path).unwrap();
            for word in &banned {
                let found = text.lines().position(|line| line.contains(word.as_str()));
                assert!(found.is_none(), "{}:{:?} has {word}", path.display(), found);
            }
        }
    }
}

#[test]
fn what_a_visitor_looks_for_is_there() {
    for file in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "LICENSE",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "deny.toml",
        "docs/refusals.md",
        "docs/certificates.md",
        "docs/feed.md",
        "docs/joining.md",
        "docs/messages.md",
        "docs/policy.md",
        "contrib/peer.service",
        ".ci/run",
    ] {
        assert!(tree::root().join(file).is_file(), "{file} is missing");
    }
}

/// The numbered statements of MQTT 5.0 and of MQTT 3.1.1: section, first and last.
const OF_MQTT_5: &str = "\
    1.5.4 1-3, 1.5.5 1-1, 1.5.7 1-1, 2.1.3 1-1, 2.2.1 2-6, 2.2.2 1-1, 3.1.0 1-2, 3.1.2 1-30, \
    3.1.3 1-12, 3.1.4 1-6, 3.2.0 1-2, 3.2.2 1-22, 3.3.1 1-13, 3.3.2 1-20, 3.3.4 1-10, 3.4.2 \
    1-3, 3.5.2 1-3, 3.6.1 1-1, 3.6.2 1-3, 3.7.2 1-3, 3.8.1 1-1, 3.8.3 1-5, 3.8.4 1-8, 3.9.2 \
    1-2, 3.9.3 1-2, 3.10.1 1-1, 3.10.3 1-2, 3.10.4 1-6, 3.11.2 1-2, 3.11.3 1-2, 3.12.4 1-1, \
    3.14.0 1-1, 3.14.1 1-1, 3.14.2 1-4, 3.14.4 1-3, 3.15.1 1-1, 3.15.2 1-3, 4.1.0 1-2, 4.2.0 \
    1-1, 4.3.1 1-1, 4.3.2 1-5, 4.3.3 1-13, 4.4.0 1-2, 4.5.0 1-2, 4.6.0 1-6, 4.7.0 1-1, 4.7.1 \
    1-2, 4.7.2 1-1, 4.7.3 1-4, 4.8.2 1-6, 4.9.0 1-3, 4.12.0 1-7, 4.12.1 1-2, 4.13.1 1-1, \
    4.13.2 1-1, 6.0.0 1-4";
const OF_MQTT_3_1_1: &str = "\
    1.5.3 1-3, 2.2.2 1-2, 2.3.1 1-7, 3.1.0 1-2, 3.1.2 1-24, 3.1.3 1-11, 3.1.4 1-5, 3.2.0 \
    1-1, 3.2.2 1-6, 3.3.1 1-12, 3.3.2 1-3, 3.3.4 1-1, 3.3.5 1-2, 3.6.1 1-1, 3.8.1 1-1, 3.8.3 \
    1-4, 3.8.4 1-6, 3.9.3 1-2, 3.10.1 1-1, 3.10.3 1-2, 3.10.4 1-6, 3.12.4 1-1, 3.14.1 1-1, \
    3.14.4 1-3, 4.1.0 1-2, 4.3.1 1-1, 4.3.2 1-2, 4.3.3 1-2, 4.4.0 1-1, 4.5.0 1-2, 4.6.0 1-6, \
    4.7.1 1-3, 4.7.2 1-1, 4.7.3 1-4, 4.8.0 1-2, 6.0.0 1-4, 7.0.0 1-2, 7.1.1 1-1, 7.1.2 1-1";

fn statements(of: &str) -> Vec<String> {
    let all = of.split(", ").flat_map(|part| {
        let (section, numbers) = part.split_once(' ').unwrap();
        let (first, last) = numbers.split_once('-').unwrap();
        let numbers = first.parse::<u8>().unwrap()..=last.parse().unwrap();
        numbers.map(move |number| format!("{section}-{number}"))
    });
    all.collect()
}

#[test]
fn every_statement_of_mqtt_is_in_its_paper_once_and_has_a_proof() {
    let paper = tree::text("docs/mqtt-conformance.md");
    let (_, of_5) = paper.split_once("## MQTT 5.0").unwrap();
    let (of_5, of_3_1_1) = of_5.split_once("## MQTT 3.1.1").unwrap();
    for (text, of, count) in [(of_5, OF_MQTT_5, 251), (of_3_1_1, OF_MQTT_3_1_1, 141)] {
        let mut expected = statements(of);
        assert_eq!(expected.len(), count);
        let rows = text.lines().filter(|line| line.starts_with("| ")).map(|line| {
            let mut cells = line.trim_matches('|').split(" | ");
            [cells.next(), cells.next(), cells.next()].map(|cell| cell.unwrap_or_default().trim())
        });
        let mut found = Vec::new();
        for [numbers, _, proof] in
            rows.filter(|[numbers, ..]| numbers.starts_with(char::is_numeric))
        {
            // Several in one row are a client's own.
            let several = numbers.contains(", ");
            assert!(several || proof.contains('`'), "{numbers} has no proof");
            found.extend(numbers.split(", ").map(ToOwned::to_owned));
        }
        found.sort();
        expected.sort();
        let missing: Vec<_> = expected.iter().filter(|number| !found.contains(number)).collect();
        assert!(missing.is_empty(), "missing: {missing:?}");
        assert_eq!(found, expected, "there twice, or in no standard");
    }
}

#[test]
fn every_proof_of_mqtt_that_is_named_is_there() {
    let paper = tree::text("docs/mqtt-conformance.md");
    let tests: String = sources().into_iter().map(|(_, text)| text).collect();
    let named = paper.split('`').skip(1).step_by(2).filter(|word| word.contains("_"));
    let mut count = 0;
    for name in named {
        assert!(tests.contains(&format!("fn {name}(")), "no test is called {name}");
        count += 1;
    }
    assert!(count > 400, "{count}");
}
