//! What was asked of which engine: the file `bridges` in the bundle.
//!
//! An engine keeps our subscriptions with our session and cannot be asked for them. Without this, a
//! filter that was taken out of `node.yaml` would stay there for as long as the bridge comes back.
//!
//! **Invariant:** whatever an engine has of ours stands in the file, unless the file was lost; then
//! what comes under it is dropped and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytestring::ByteString;
use host::files::{self, FileError, Mode};

use crate::limits::{BRIDGE_ASKED_BYTES_MAX, BRIDGE_ASKED_MAX};

/// Filters by the names of engines, as they are called there.
type All = BTreeMap<String, BTreeSet<String>>;

/// The file.
pub(super) struct Asked {
    path: PathBuf,
    all: Mutex<All>,
}

impl Asked {
    /// Reads it.
    pub(super) fn open(folder: &Path) -> Self {
        let path = folder.join("bridges");
        let all = match files::read_bounded(&path, BRIDGE_ASKED_BYTES_MAX) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!("{}: {error}; it is begun anew", path.display());
                All::default()
            }),
            // There is none before the first bridge.
            Err(_) => All::default(),
        };
        Self { path, all: Mutex::new(all) }
    }

    /// An engine is about to be asked for these; gives what it was asked for before and is not to
    /// have any more.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be written.
    pub(super) fn begin(&self, name: &str, now: &[String]) -> Result<Vec<ByteString>, FileError> {
        self.change(|all| {
            let asked = all.entry(name.to_owned()).or_default();
            let retired = asked.iter().filter(|filter| !now.contains(filter));
            let retired: Vec<ByteString> =
                retired.take(BRIDGE_ASKED_MAX).map(|filter| filter.as_str().into()).collect();
            asked.extend(now.iter().cloned());
            retired
        })
    }

    /// The engine has nothing of ours but these.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be written.
    pub(super) fn settle(&self, name: &str, now: &[String]) -> Result<(), FileError> {
        self.change(|all| drop(all.insert(name.to_owned(), now.iter().cloned().collect())))
    }

    fn change<T>(&self, change: impl FnOnce(&mut All) -> T) -> Result<T, FileError> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.clone();
        let value = change(&mut all);
        if *all != before {
            let bytes = serde_json::to_vec(&*all).unwrap_or_default();
            files::write_atomic(&self.path, &bytes, Mode::Secret)?;
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_known_until_it_is_taken_back() {
        let place = tempfile::tempdir().unwrap();
        let [a, b] = ["a/#", "b"].map(str::to_owned);
        let asked = Asked::open(place.path());
        assert!(asked.begin("mq", std::slice::from_ref(&a)).unwrap().is_empty());
        assert!(asked.begin("other", std::slice::from_ref(&b)).unwrap().is_empty());
        for _ in 0..2 {
            // After a restart too, and until it is said to be settled.
            let asked = Asked::open(place.path());
            assert_eq!(asked.begin("mq", std::slice::from_ref(&b)).unwrap(), ["a/#"]);
        }
        let asked = Asked::open(place.path());
        asked.settle("mq", std::slice::from_ref(&b)).unwrap();
        assert!(Asked::open(place.path()).begin("mq", &[b]).unwrap().is_empty());
        std::fs::write(place.path().join("bridges"), "{").unwrap();
        assert!(Asked::open(place.path()).begin("mq", &[a]).unwrap().is_empty());
    }
}
