//! Programs that we did not write, and that judge what ours do.

use std::path::PathBuf;
use std::process::Command;

/// Where a judge is, by the first of its names that is found; none: the test is skipped by name,
/// unless `CONCLAVE_JUDGES=required` says that it must be there, as CI does.
///
/// # Panics
/// If it is required and not installed.
#[must_use]
pub fn judge(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/lib/nss/unsupported-tools", "/usr/sbin"].map(PathBuf::from));
    let found = folders.iter().flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    let found = found.into_iter().find(|path| path.is_file());
    if found.is_none() {
        absent(names[0]);
    }
    found
}

/// Says that a judge is not there.
///
/// # Panics
/// If it is required.
pub fn absent(name: &str) {
    let required = std::env::var_os("CONCLAVE_JUDGES").is_some_and(|value| value == "required");
    assert!(!required, "the judge {name} is required and not installed");
    #[allow(clippy::print_stderr, reason = "a skipped judge is named")]
    {
        eprintln!("skipped: the judge {name} is not installed");
    }
}

/// Words before a command's own, with which it sees the system's clock shifted; none if there is no
/// faketime.
///
/// The wrapper itself stays beside what it starts, which would outlive it: so it is asked what it
/// sets, and `env` makes way for the command.
///
/// # Panics
/// If it cannot be asked.
#[must_use]
pub fn shifted(offset: &str) -> Option<Vec<String>> {
    let output = Command::new(judge(&["faketime"])?).args(["-f", offset, "env"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let sets = |line: &&str| line.starts_with("LD_PRELOAD=") || line.starts_with("FAKETIME=");
    let set = said.lines().filter(sets).map(str::to_owned);
    let words: Vec<String> = std::iter::once("env".to_owned()).chain(set).collect();
    assert_eq!(words.len(), 3, "{said}");
    Some(words)
}
