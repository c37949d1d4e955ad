//! How a bundle's redb files are opened, and what to say when they cannot be.
//!
//! **Invariant:** a file that is made is its owner's alone (0600).

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, StorageError};

/// Why a redb file cannot be used. Whose fault: the disk's.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct StoreError {
    path: PathBuf,
    what: String,
    full: bool,
}

impl StoreError {
    pub(crate) fn new(path: &Path, error: &redb::Error) -> Self {
        let full = matches!(error, redb::Error::Io(io) if is_full(io));
        let what = if full { "the disk is full".to_owned() } else { error.to_string() };
        Self { path: path.to_owned(), what, full }
    }

    /// A thing to do or to type.
    #[must_use]
    pub fn hint(&self) -> String {
        if self.full {
            "make room, then try again: df -h".to_owned()
        } else {
            format!("see what it is: ls -l {}", self.path.display())
        }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Opens a redb file, made if there is none.
///
/// # Errors
/// [`StoreError`]
pub(crate) fn open(path: &Path) -> Result<Database, StoreError> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let wrong = |error: redb::Error| StoreError::new(path, &error);
    let file = options.open(path).map_err(|e| wrong(StorageError::from(e).into()))?;
    let backend = FileBackend::new(file).map_err(|e| wrong(e.into()))?;
    Database::builder().create_with_backend(backend).map_err(|e| wrong(e.into()))
}
