//! The transcript in the README is what the programs say.

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

#[test]
fn the_transcript_is_real() {
    let readme = tree::text("README.md");
    let (_, rest) = readme.split_once("```console\n").unwrap();
    let (transcript, _) = rest.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut expected: Vec<&str> = Vec::new();
    let mut line: Option<&str> = None;
    for text in transcript.lines().chain(["$ "]) {
        let Some(next) = text.strip_prefix("$ ") else {
            expected.push(text);
            continue;
        };
        if let Some((program, arguments)) = line.and_then(|line| line.split_once(' ')) {
            let said = programs::run(program, folder.path(), arguments).ended(0);
            assert_eq!(normalised(&said.out), normalised(&expected.join("\n")), "{arguments}");
        }
        expected.clear();
        line = Some(next);
    }
}

#[test]
fn every_command_in_the_papers_exists() {
    for paper in ["README.md", "docs/refusals.md", "docs/feed.md", "docs/certificates.md"] {
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
