//! Where the authority keeps what, and folders that appear whole or not at all.
//!
//! ```text
//! pki/state/  authority.yaml keyring root/ issuing/ identity/ trust.pem store.redb feed/ crl.der
//!             lock
//! ```
//!
//! **Invariant:** a folder made by [`build_folder`] has its name only when everything in it is on
//! the disk; an interrupted one never looks like an authority or a bundle.

use std::path::{Path, PathBuf};

use host::files::{self, FileError};

use crate::error::CaError;

/// The files of one authority.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout under a folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { root: folder.to_owned() }
    }

    /// The folder itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.root
    }

    /// Settings a person may edit.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.root.join("authority.yaml")
    }

    /// The keyring that opens the keys.
    #[must_use]
    pub fn keyring(&self) -> PathBuf {
        self.root.join("keyring")
    }

    /// The root certificate.
    #[must_use]
    pub fn root_cert(&self) -> PathBuf {
        self.root.join("root/root.crt")
    }

    /// The root key, sealed; may be absent (kept offline).
    #[must_use]
    pub fn root_key(&self) -> PathBuf {
        self.root.join("root/root.key")
    }

    /// The issuing certificate.
    #[must_use]
    pub fn issuing_cert(&self) -> PathBuf {
        self.root.join("issuing/issuing.crt")
    }

    /// The issuing key, sealed.
    #[must_use]
    pub fn issuing_key(&self) -> PathBuf {
        self.root.join("issuing/issuing.key")
    }

    /// The chain under which the authority connects to peers.
    #[must_use]
    pub fn identity_cert(&self) -> PathBuf {
        self.root.join("identity/authority.crt")
    }

    /// Its key, sealed.
    #[must_use]
    pub fn identity_key(&self) -> PathBuf {
        self.root.join("identity/authority.key")
    }

    /// The roots that members trust.
    #[must_use]
    pub fn trust(&self) -> PathBuf {
        self.root.join("trust.pem")
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.root.join("store.redb")
    }

    /// The feed as a file, for `peer feed import`.
    #[must_use]
    pub fn feed(&self) -> PathBuf {
        self.root.join("feed/feed")
    }

    /// The CRL, DER.
    #[must_use]
    pub fn crl(&self) -> PathBuf {
        self.root.join("crl.der")
    }

    /// Profiles that stand in for the built-in ones.
    #[must_use]
    pub fn profile(&self, name: &str) -> PathBuf {
        self.root.join("profiles").join(format!("{name}.yaml"))
    }

    /// Where the authority's own peer runs while it is online: a bundle without a key.
    #[must_use]
    pub fn mesh(&self) -> PathBuf {
        self.root.join("mesh")
    }

    /// The lock that serialises programs.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn folders(&self) -> [PathBuf; 5] {
        ["root", "issuing", "identity", "feed", "profiles"].map(|name| self.root.join(name))
    }
}

/// Builds a private folder beside its final place and then gives it its name.
///
/// # Errors
/// [`CaError::Exists`] if anything stands at `path`; otherwise what `fill` or the disk says. What
/// was begun is removed.
pub fn build_folder<T>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<T, CaError>,
) -> Result<T, CaError> {
    refuse_existing(path)?;
    let name = path.file_name().ok_or_else(|| CaError::Content {
        path: path.to_owned(),
        what: "not a name for a folder".to_owned(),
    })?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).map_err(|e| FileError::from_io("make", parent, e))?;
    let number: [u8; 4] = host::random::bytes()?;
    let mut temp_name = std::ffi::OsString::from(".");
    temp_name.push(name);
    temp_name.push(format!(".{}.new", shared::id::hex(&number)));
    let temp = parent.join(temp_name);
    files::make_private_dir(&temp)?;
    let made = fill(&temp).and_then(|value| {
        files::rename_dir(&temp, path).map_err(|error| match error {
            FileError::Exists { path } => CaError::Exists { path },
            other => other.into(),
        })?;
        Ok(value)
    });
    if made.is_err() {
        // The error that stopped the work is worth more than one about cleaning up.
        let _ = std::fs::remove_dir_all(&temp);
    }
    made
}

fn refuse_existing(path: &Path) -> Result<(), CaError> {
    match path.symlink_metadata() {
        Ok(_) => Err(CaError::Exists { path: path.to_owned() }),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a");
        let failed: Result<(), _> = build_folder(&path, |temp| {
            std::fs::write(temp.join("x"), b"x").unwrap();
            Err(CaError::Unusable)
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
        build_folder(&path, |_| Ok(())).unwrap();
        assert!(matches!(build_folder(&path, |_| Ok(())), Err(CaError::Exists { .. })));
    }
}
