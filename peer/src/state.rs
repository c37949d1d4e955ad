//! What a peer remembers from run to run: how often it has started.
//!
//! **Invariant:** [`State::open`] returns a boot number that no earlier run on this bundle had, and
//! it is on the disk.
//! **Invariant:** a state of a newer format is refused, never read.

use std::path::{Path, PathBuf};

use host::fault::Fault;
use redb::{Database, ReadableTable as _, TableDefinition};

use crate::store::{self, StoreError};

/// The newest format this program knows.
pub const FORMAT: u64 = 1;

const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");

/// Why the state cannot be used. Whose fault: the disk's, or an older program's operator.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// What the disk or the store says.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Written by a newer program.
    #[error("{} has format {found}, this program knows {FORMAT}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
}

impl From<StateError> for Fault {
    fn from(error: StateError) -> Self {
        let hint = match &error {
            StateError::Store(error) => error.hint(),
            StateError::Newer { .. } => "run the newer peer on this bundle".to_owned(),
        };
        Self::failed(error.to_string()).hint(hint)
    }
}

/// The open state.
pub struct State {
    boot: u64,
    _database: Option<Database>,
}

impl State {
    /// Opens the state, made if there is none, and counts this start.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let database = store::open(path)?;
        let wrong = |error: redb::Error| StateError::Store(StoreError::new(path, &error));
        let txn = database.begin_write().map_err(|e| wrong(e.into()))?;
        let boot = {
            let mut meta = txn.open_table(META).map_err(|e| wrong(e.into()))?;
            let number = |key| -> Result<Option<u64>, redb::StorageError> {
                Ok(meta.get(key)?.map(|found| found.value()))
            };
            let format = number("format").map_err(|e| wrong(e.into()))?;
            if let Some(found) = format.filter(|found| *found > FORMAT) {
                return Err(StateError::Newer { path: path.to_owned(), found });
            }
            let last = number("boot").map_err(|e| wrong(e.into()))?;
            let boot = last.unwrap_or(0).saturating_add(1);
            meta.insert("format", FORMAT).map_err(|e| wrong(e.into()))?;
            meta.insert("boot", boot).map_err(|e| wrong(e.into()))?;
            boot
        };
        txn.commit().map_err(|e| wrong(e.into()))?;
        Ok(Self { boot, _database: Some(database) })
    }

    /// The state of a start that somebody else has counted.
    #[must_use]
    pub const fn counted(boot: u64) -> Self {
        Self { boot, _database: None }
    }

    /// Which start of this bundle this is, from 1.
    #[must_use]
    pub const fn boot(&self) -> u64 {
        self.boot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_has_its_number() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("state.redb");
        for boot in 1..4 {
            assert_eq!(State::open(&path).unwrap().boot(), boot);
        }
    }

    #[test]
    fn a_newer_format_is_refused_and_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("state.redb");
        drop(State::open(&path).unwrap());
        let database = store::open(&path).unwrap();
        let txn = database.begin_write().unwrap();
        txn.open_table(META).unwrap().insert("format", 2).unwrap();
        txn.commit().unwrap();
        drop(database);
        assert!(matches!(State::open(&path), Err(StateError::Newer { found: 2, .. })));
        assert!(matches!(State::open(&path), Err(StateError::Newer { found: 2, .. })));
    }

    #[test]
    fn a_file_that_is_no_state_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("state.redb");
        std::fs::write(&path, b"hello, this is no database").unwrap();
        assert!(State::open(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"hello, this is no database");
    }
}
