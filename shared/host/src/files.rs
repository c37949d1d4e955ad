//! Files: written whole or not at all, read up to a bound, secret ones only if they are private.
//!
//! A key file that any user of the machine can read is no secret, and a state file cut short by a
//! full disk is worse than none. So the mode stands from the first byte on (no `chmod` afterwards),
//! a file gets its name only after its bytes are on the disk, and a loose mode is refused with the
//! command that tightens it. The umask may take bits away; nothing here adds any.
//!
//! **Invariant:** a secret never stands in a file that group or others may open.
//! **Invariant:** [`write_new`] never overwrites, [`write_atomic`] leaves one whole file.
//! **Invariant:** reading waits for no FIFO or device, and takes at most `max + 1` bytes.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// Tries to find an unused temporary name; more than a few leftovers mean something else is wrong.
const TEMP_NAMES_MAX: u32 = 16;

/// Who may read a file that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Its owner alone: 0600.
    Secret,
    /// Everyone may read, its owner may write: 0644.
    Public,
}

impl Mode {
    const fn bits(self) -> u32 {
        match self {
            Self::Secret => 0o600,
            Self::Public => 0o644,
        }
    }
}

/// Why a file could not be read or written. Whose fault: the operator's or the disk's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is no such file or folder.
    #[error("{} does not exist", path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// A file stands where a new one should be written.
    #[error("{} exists already", path.display())]
    Exists {
        /// What stands there.
        path: PathBuf,
    },
    /// Something other than a regular file: a folder, FIFO, device or socket.
    #[error("{} is not a regular file", path.display())]
    NotRegular {
        /// What it is called.
        path: PathBuf,
    },
    /// A symbolic link where a secret is expected: whoever can move the link chooses the secret.
    #[error("{} is a symbolic link", path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// Something other than a folder.
    #[error("{} is not a folder", path.display())]
    NotFolder {
        /// What it is called.
        path: PathBuf,
    },
    /// More bytes than the reader allows.
    #[error("{} is larger than {max_bytes} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes allowed.
        max_bytes: usize,
    },
    /// Group or others may open what should be private.
    #[error("{} is open to other users (mode {mode:04o})", path.display())]
    NotPrivate {
        /// The file or folder.
        path: PathBuf,
        /// The mode found.
        mode: u32,
        /// The mode wanted: 0600 or 0700.
        wanted: u32,
    },
    /// No room on the disk, or the user's quota is used up.
    #[error("the disk is full: {}", path.display())]
    StorageFull {
        /// What was being written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else that the system says.
    #[error("cannot {act} {}: {}", path.display(), plain(source))]
    Io {
        /// What was tried, as a verb.
        act: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FileError {
    /// Sorts what the system said about `path` while doing `act` (a verb: "read", "write").
    #[must_use]
    pub fn from_io(act: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::NotFound => Self::Missing { path },
            ErrorKind::AlreadyExists => Self::Exists { path },
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::StorageFull { path, source },
            _ => Self::Io { act, path, source },
        }
    }

    /// The file or folder this is about.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Missing { path }
            | Self::Exists { path }
            | Self::NotRegular { path }
            | Self::Link { path }
            | Self::NotFolder { path }
            | Self::TooLarge { path, .. }
            | Self::NotPrivate { path, .. }
            | Self::StorageFull { path, .. }
            | Self::Io { path, .. } => path,
        }
    }

    /// A thing to do or to type, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some("check the path".to_owned()),
            Self::Exists { path } => Some(format!(
                "nothing was overwritten; move it away first: mv {0} {0}.old",
                path.display()
            )),
            Self::NotPrivate { path, wanted, .. } => {
                Some(format!("chmod {wanted:o} {}", path.display()))
            }
            Self::Link { path } => Some(format!(
                "name the file itself; see where it leads: readlink {}",
                path.display()
            )),
            Self::StorageFull { path, .. } => {
                let folder = parent_of(path);
                Some(format!(
                    "nothing was changed; make room, then try again: df -h {}",
                    folder.display()
                ))
            }
            Self::Io { path, source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                Some(format!("see who owns it: ls -ld {}", path.display()))
            }
            Self::NotRegular { .. } | Self::NotFolder { .. } | Self::TooLarge { .. } => {
                Some("check that this is the file you meant".to_owned())
            }
            Self::Io { .. } => None,
        }
    }
}

/// What the system said, in its own lower-case words where it has some.
pub(crate) fn plain(error: &io::Error) -> String {
    let kind = error.kind().to_string();
    let vague = matches!(error.kind(), ErrorKind::Other) || kind.starts_with("uncategorized");
    if vague { error.to_string() } else { kind }
}

/// Writes a file that does not exist yet, and has the disk confirm it.
///
/// # Errors
/// [`FileError::Exists`] if anything stands at `path`; it is not touched. What a failed write began
/// is removed.
pub fn write_new(path: &Path, bytes: &[u8], mode: Mode) -> Result<(), FileError> {
    let failed = |error| FileError::from_io("write", path, error);
    let file = create_new(path, mode).map_err(failed)?;
    let written = fill(file, bytes).and_then(|()| sync_folder_of(path));
    written.inspect_err(|_| discard(path)).map_err(failed)
}

/// Replaces a file, or makes it: readers see the old bytes or the new ones, never a mixture.
///
/// # Errors
/// [`FileError`]; the old file is then untouched and the temporary one is gone. Only if the folder
/// cannot be synced does the new file stand there, and may be the old one again after a power cut.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: Mode) -> Result<(), FileError> {
    let failed = |error| FileError::from_io("write", path, error);
    let (file, temp) = create_temp(path, mode).map_err(failed)?;
    let renamed = fill(file, bytes).and_then(|()| std::fs::rename(&temp, path));
    renamed.inspect_err(|_| discard(&temp)).map_err(failed)?;
    sync_folder_of(path).map_err(failed)
}

/// Reads a regular file of at most `max_bytes`.
///
/// # Errors
/// [`FileError::TooLarge`], [`FileError::NotRegular`], or what the system says.
pub fn read_bounded(path: &Path, max_bytes: usize) -> Result<Vec<u8>, FileError> {
    let (file, about) = open_regular(path, OFlags::empty())?;
    let mut bytes = Vec::new();
    read_up_to(file, &about, path, max_bytes, &mut bytes)?;
    Ok(bytes)
}

/// Reads a secret: a regular file, not a link, that its owner alone may open.
///
/// # Errors
/// [`FileError::NotPrivate`] and [`FileError::Link`] besides what [`read_bounded`] says.
pub fn read_secret(path: &Path, max_bytes: usize) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let (file, about) = open_regular(path, OFlags::NOFOLLOW)?;
    require_private(path, &about, 0o600)?;
    let mut bytes = Zeroizing::new(Vec::new());
    read_up_to(file, &about, path, max_bytes, &mut bytes)?;
    Ok(bytes)
}

/// Makes a folder for its owner alone (0700), and the folders above it; one that is there must be
/// private already.
///
/// # Errors
/// [`FileError::NotPrivate`] or [`FileError::NotFolder`] about a folder that is there, or what the
/// system says.
pub fn make_private_dir(path: &Path) -> Result<(), FileError> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => check_private_dir(path),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(FileError::NotFolder { path: path.to_owned() })
        }
        Err(error) => Err(FileError::from_io("make", path, error)),
    }
}

/// Puts a file in another's place and has the disk confirm it.
///
/// # Errors
/// What the system says; the other is then still there, or this one stands in its place.
pub fn rename_over(from: &Path, to: &Path) -> Result<(), FileError> {
    let failed = |error| FileError::from_io("rename", to, error);
    std::fs::rename(from, to).and_then(|()| sync_folder_of(to)).map_err(failed)
}

/// Removes a file, if it is there.
///
/// # Errors
/// What the system says.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Ok(()) => sync_folder_of(path).map_err(|error| FileError::from_io("remove", path, error)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(FileError::from_io("remove", path, error)),
    }
}

/// Gives a finished folder its name, and has the disk confirm it and what is in it.
///
/// # Errors
/// [`FileError::Exists`] if anything stands at `to`, or what the system says.
pub fn rename_dir(from: &Path, to: &Path) -> Result<(), FileError> {
    if to.symlink_metadata().is_ok() {
        return Err(FileError::Exists { path: to.to_owned() });
    }
    let failed = |error| FileError::from_io("rename", to, error);
    File::open(from).and_then(|folder| folder.sync_all()).map_err(failed)?;
    std::fs::rename(from, to).and_then(|()| sync_folder_of(to)).map_err(failed)
}

/// Checks that a folder is there and that its owner alone may enter it.
///
/// # Errors
/// [`FileError::NotPrivate`] with the `chmod` that repairs it, [`FileError::NotFolder`],
/// [`FileError::Missing`].
pub fn check_private_dir(path: &Path) -> Result<(), FileError> {
    let about = std::fs::metadata(path).map_err(|e| FileError::from_io("look at", path, e))?;
    if !about.is_dir() {
        return Err(FileError::NotFolder { path: path.to_owned() });
    }
    require_private(path, &about, 0o700)
}

fn require_private(path: &Path, about: &Metadata, wanted: u32) -> Result<(), FileError> {
    let mode = about.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(FileError::NotPrivate { path: path.to_owned(), mode, wanted })
}

/// Opens without blocking: a FIFO would otherwise wait here for a writer, before it can be refused.
fn open_regular(path: &Path, extra: OFlags) -> Result<(File, Metadata), FileError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | extra;
    let file = match rustix::fs::open(path, flags, rustix::fs::Mode::empty()) {
        Ok(handle) => File::from(handle),
        Err(rustix::io::Errno::LOOP) => return Err(FileError::Link { path: path.to_owned() }),
        Err(rustix::io::Errno::NXIO) => {
            return Err(FileError::NotRegular { path: path.to_owned() });
        }
        Err(errno) => return Err(FileError::from_io("open", path, errno.into())),
    };
    let about = file.metadata().map_err(|e| FileError::from_io("look at", path, e))?;
    if about.is_file() {
        Ok((file, about))
    } else {
        Err(FileError::NotRegular { path: path.to_owned() })
    }
}

/// Room for the whole file is taken first: no copy of a secret stays behind in a vector that grew.
fn read_up_to(
    file: File,
    about: &Metadata,
    path: &Path,
    max_bytes: usize,
    bytes: &mut Vec<u8>,
) -> Result<(), FileError> {
    let too_large = || FileError::TooLarge { path: path.to_owned(), max_bytes };
    let max = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    if about.len() > max {
        return Err(too_large());
    }
    let size = usize::try_from(about.len()).unwrap_or(max_bytes).min(max_bytes);
    bytes.reserve_exact(size.saturating_add(1));
    file.take(max.saturating_add(1))
        .read_to_end(bytes)
        .map_err(|error| FileError::from_io("read", path, error))?;
    if bytes.len() > max_bytes { Err(too_large()) } else { Ok(()) }
}

fn create_new(path: &Path, mode: Mode) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(File::from(rustix::fs::open(path, flags, rustix::fs::Mode::from_raw_mode(mode.bits()))?))
}

/// A new hidden file beside `path`: a rename is atomic only within one file system.
fn create_temp(path: &Path, mode: Mode) -> io::Result<(File, PathBuf)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = path.file_name().ok_or(ErrorKind::InvalidFilename)?;
    let mut tries = 0;
    loop {
        let mut temp_name = OsString::from(".");
        temp_name.push(name);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        temp_name.push(format!(".{}-{number}.tmp", std::process::id()));
        let temp = path.with_file_name(temp_name);
        tries += 1;
        match create_new(&temp, mode) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < TEMP_NAMES_MAX => {}
            made => return made.map(|file| (file, temp)),
        }
    }
}

fn fill(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(parent_of(path))?.sync_all()
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Best effort: the write already failed, and that is the error worth telling.
fn discard(path: &Path) {
    let _ = std::fs::remove_file(path);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_new_file_has_its_mode_and_is_never_overwritten() {
        let folder = folder();
        let path = folder.path().join("key");
        write_new(&path, b"one", Mode::Secret).unwrap();
        assert_eq!(mode_of(&path), 0o600);
        let error = write_new(&path, b"two", Mode::Secret).unwrap_err();
        assert!(matches!(error, FileError::Exists { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }

    #[test]
    fn a_dangling_link_is_not_written_through() {
        let folder = folder();
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(matches!(write_new(&link, b"x", Mode::Public), Err(FileError::Exists { .. })));
        assert!(!target.exists());
    }

    #[test]
    fn replacing_leaves_one_file_and_no_litter() {
        let folder = folder();
        let path = folder.path().join("state");
        write_atomic(&path, b"one", Mode::Secret).unwrap();
        write_atomic(&path, b"two", Mode::Secret).unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), mode_of(&path)), (&b"two"[..], 0o600));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_replacement_leaves_no_litter() {
        let folder = folder();
        let path = folder.path().join("is-a-folder");
        fs::create_dir(&path).unwrap();
        assert!(write_atomic(&path, b"x", Mode::Public).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_atomic(&folder.path().join("no/such/file"), b"x", Mode::Public).is_err());
    }

    #[test]
    fn the_bound_itself_fits_and_one_more_does_not() {
        let folder = folder();
        let path = folder.path().join("file");
        fs::write(&path, [7; 10]).unwrap();
        assert_eq!(read_bounded(&path, 10).unwrap(), [7; 10]);
        assert!(matches!(read_bounded(&path, 9), Err(FileError::TooLarge { max_bytes: 9, .. })));
        fs::write(&path, b"").unwrap();
        assert!(read_bounded(&path, 0).unwrap().is_empty());
    }

    #[test]
    fn files_whose_size_says_nothing_are_bounded_too() {
        let path = Path::new("/proc/self/status");
        if path.exists() {
            assert!(matches!(read_bounded(path, 16), Err(FileError::TooLarge { .. })));
            assert!(read_bounded(path, 64 * 1024).is_ok());
        }
    }

    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting() {
        let folder = folder();
        let fifo = folder.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o600))
            .unwrap();
        for path in [fifo.as_path(), folder.path(), Path::new("/dev/zero")] {
            let error = read_bounded(path, 10).unwrap_err();
            assert!(matches!(error, FileError::NotRegular { .. }), "{error}");
        }
        assert!(matches!(
            read_bounded(&folder.path().join("no"), 1),
            Err(FileError::Missing { .. })
        ));
    }

    #[test]
    fn a_secret_must_be_private() {
        let folder = folder();
        let path = folder.path().join("secret");
        fs::write(&path, b"x").unwrap();
        for private in [0o600, 0o400] {
            chmod(&path, private);
            assert_eq!(read_secret(&path, 1).unwrap().as_slice(), b"x");
        }
        for open in [0o640, 0o604, 0o601, 0o660] {
            chmod(&path, open);
            let error = read_secret(&path, 1).unwrap_err();
            assert_eq!(error.hint().unwrap(), format!("chmod 600 {}", path.display()));
        }
    }

    #[test]
    fn a_secret_is_not_read_through_a_link() {
        let folder = folder();
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        write_new(&target, b"x", Mode::Secret).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(matches!(read_secret(&link, 1), Err(FileError::Link { .. })));
        assert!(read_bounded(&link, 1).is_ok(), "public files may be links");
    }

    #[test]
    fn a_private_folder_is_made_once_and_checked_ever_after() {
        let folder = folder();
        let path = folder.path().join("a/b");
        make_private_dir(&path).unwrap();
        assert_eq!((mode_of(&path), mode_of(path.parent().unwrap())), (0o700, 0o700));
        make_private_dir(&path).unwrap();
        chmod(&path, 0o750);
        let error = make_private_dir(&path).unwrap_err();
        assert_eq!(error.hint().unwrap(), format!("chmod 700 {}", path.display()));
        assert_eq!(mode_of(&path), 0o750, "looked at, not changed");
    }

    #[test]
    fn a_file_is_not_a_folder() {
        let folder = folder();
        let path = folder.path().join("file");
        fs::write(&path, b"").unwrap();
        assert!(matches!(make_private_dir(&path), Err(FileError::NotFolder { .. })));
        assert!(matches!(check_private_dir(&path), Err(FileError::NotFolder { .. })));
        let missing = folder.path().join("no");
        assert!(matches!(check_private_dir(&missing), Err(FileError::Missing { .. })));
    }

    #[test]
    fn a_full_disk_says_so() {
        let error = FileError::from_io("write", Path::new("/x/y"), ErrorKind::StorageFull.into());
        assert_eq!(error.to_string(), "the disk is full: /x/y");
        let error = FileError::from_io("open", Path::new("/x"), ErrorKind::PermissionDenied.into());
        assert_eq!(error.to_string(), "cannot open /x: permission denied");
    }

    #[test]
    fn a_bare_file_name_lives_in_the_folder_we_stand_in() {
        assert_eq!(parent_of(Path::new("name")), Path::new("."));
        assert_eq!(parent_of(Path::new("a/name")), Path::new("a"));
    }
}
