//! The source tree, for the tests that read it.

use std::path::{Path, PathBuf};

/// The workspace's top folder.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A file of the tree as text.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// All files with this extension, in order, without what is built or hidden.
#[must_use]
pub fn files(extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(&root(), extension, &mut found);
    found.sort();
    found
}

fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let skipped = name.starts_with('.') || ["target", "state", "corpus"].contains(&&*name);
        if path.is_dir() && !skipped {
            walk(&path, extension, found);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
}
