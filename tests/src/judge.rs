//! Programs that we did not write, and that judge what ours do.

use std::path::PathBuf;

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
