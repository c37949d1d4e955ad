//! Which files changed since the last look: by modification time, size and inode.
//!
//! Polled by the daemon's own timer. The kernel's notifications would need a dependency, a thread
//! and a fallback for network file systems, to save a few `stat` calls a minute.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What a file looked like; `None` if it was not there.
type Look = Option<Stamp>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified_s: i64,
    modified_ns: i64,
    size: u64,
    inode: u64,
}

/// Remembers how some files looked, and says which look different now.
#[derive(Debug)]
pub struct Watcher {
    files: Vec<(PathBuf, Look)>,
}

impl Watcher {
    /// Looks at each path once; changes count from here. Links are followed.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        let with_look = |path: PathBuf| {
            let look = look_at(&path);
            (path, look)
        };
        Self { files: paths.into_iter().map(with_look).collect() }
    }

    /// The paths that appeared, vanished or changed since the last call, in the order given.
    pub fn changed(&mut self) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for (path, look) in &mut self.files {
            let new = look_at(path);
            if *look != new {
                *look = new;
                changed.push(path.clone());
            }
        }
        changed
    }
}

fn look_at(path: &Path) -> Look {
    let about = std::fs::metadata(path).ok()?;
    Some(Stamp {
        modified_s: about.mtime(),
        modified_ns: about.mtime_nsec(),
        size: about.size(),
        inode: about.ino(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Mode, write_atomic};

    #[test]
    fn each_change_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        write_atomic(&a, b"1", Mode::Public).unwrap();
        let mut watcher = Watcher::new(vec![a.clone(), b.clone()]);
        assert!(watcher.changed().is_empty(), "nothing happened");
        write_atomic(&a, b"22", Mode::Public).unwrap();
        write_atomic(&b, b"new", Mode::Public).unwrap();
        assert_eq!(watcher.changed(), [a.clone(), b]);
        assert!(watcher.changed().is_empty(), "told once");
        std::fs::remove_file(&a).unwrap();
        assert_eq!(watcher.changed(), [a]);
    }

    #[test]
    fn a_change_in_place_is_seen_by_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"1").unwrap();
        let mut watcher = Watcher::new(vec![path.clone()]);
        std::fs::write(&path, b"12").unwrap();
        assert_eq!(watcher.changed(), [path]);
    }
}
