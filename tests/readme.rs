//! The transcripts in the papers are what the programs say.

use tests::{Network, programs, tree};

/// Times and hashes are replaced by words, and runs of spaces by one: columns move with them.
fn normalised(text: &str) -> Vec<String> {
    let word = |word: &str| {
        let bare = word.trim_end_matches(':');
        let is_time = bare.len() == 20 && bare.ends_with('Z') && bare.contains('T');
        let is_hash = bare.len() == 64 && bare.bytes().all(|b| b.is_ascii_hexdigit());
        let replaced = match (is_time, is_hash) {
            (true, _) => "TIME",
            (_, true) => "HASH",
            _ => return word.to_owned(),
        };
        word.replace(bare, replaced)
    };
    text.lines().map(|l| l.split_whitespace().map(word).collect::<Vec<_>>().join(" ")).collect()
}

/// What stands in the first block of a kind.
fn block<'t>(text: &'t str, kind: &str) -> &'t str {
    let (_, rest) = text.split_once(&format!("```{kind}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn the_transcript_is_real() {
    let folder = tempfile::tempdir().unwrap();
    replay(block(&tree::text("README.md"), "console"), folder.path());
}

#[test]
fn the_example_policy_does_what_its_paper_says() {
    let paper = tree::text("docs/policy.md");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policy.yaml"), block(&paper, "yaml")).unwrap();
    replay(block(&paper, "console"), folder.path());
}

fn replay(transcript: &str, folder: &std::path::Path) {
    let mut expected: Vec<&str> = Vec::new();
    let mut line: Option<&str> = None;
    for text in transcript.lines().chain(["$ "]) {
        let Some(next) = text.strip_prefix("$ ") else {
            expected.push(text);
            continue;
        };
        if let Some((program, arguments)) = line.and_then(|line| line.split_once(' ')) {
            let said = programs::run(program, folder, arguments).ended(0);
            assert_eq!(normalised(&said.out), normalised(&expected.join("\n")), "{arguments}");
        }
        expected.clear();
        line = Some(next);
    }
}

#[test]
fn every_command_in_the_papers_exists() {
    for paper in [
        "README.md",
        "docs/refusals.md",
        "docs/feed.md",
        "docs/certificates.md",
        "docs/policy.md",
        "docs/mqtt.md",
        "docs/joining.md",
    ] {
        for command in tree::text(paper).split('`').filter(|code| code.starts_with("ca-tool ")) {
            let verb = command.split_whitespace().nth(1).unwrap();
            if verb.starts_with(|c: char| c.is_ascii_lowercase()) {
                let network = tempfile::tempdir().unwrap();
                let line = format!("{verb} --help");
                let _ = programs::run("ca-tool", network.path(), &line).ended(0);
            }
        }
    }
}

#[test]
fn help_has_an_example() {
    let network = Network::new();
    for verb in ["init", "enroll", "renew", "revoke", "suspend", "crl", "verify", "log"] {
        let said = network.ca(&format!("{verb} --help"));
        assert!(said.out.contains("Example"), "{verb}");
    }
}
