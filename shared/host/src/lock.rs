//! One program at a time: an advisory lock on a file that names its holder.
//!
//! The kernel releases the lock when the holder dies, however it dies, so there is no stale lock
//! file to remove by hand. The text inside is only for people.
//!
//! **Invariant:** while a [`FileLock`] lives, no other one for the same file does.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::files::FileError;
use crate::terminal::escape;

/// Bytes read of the holder's text: a program name and a number.
const HOLDER_BYTES_MAX: u64 = 128;
/// Between two tries. `flock` with a time limit would need a signal; a commit takes about as long.
const POLL: Duration = Duration::from_millis(20);

/// Why a lock was not obtained. Whose fault: the operator's (two programs at once) or the disk's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another program holds it and did not let go in time.
    #[error("{} is in use by {holder}", path.display())]
    Held {
        /// Who, as far as the file tells: `ca-tool (pid 123)`.
        holder: String,
        /// The lock file.
        path: PathBuf,
    },
    /// The lock file itself is the trouble.
    #[error(transparent)]
    File(#[from] FileError),
}

impl LockError {
    /// A thing to do or to type, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Held { .. } => Some("wait until it is done, then try again".to_owned()),
            Self::File(error) => error.hint(),
        }
    }
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

impl FileLock {
    /// Takes the lock at `path`, waiting at most `wait` for another holder; zero tries once.
    /// `on_wait` is told who holds it, once, before the waiting begins.
    ///
    /// # Errors
    /// [`LockError::Held`] after the wait, [`LockError::File`] if the file cannot be opened.
    pub fn acquire(
        path: &Path,
        wait: Duration,
        on_wait: impl FnOnce(&str),
    ) -> Result<Self, LockError> {
        let mut file = open(path)?;
        let start = Instant::now();
        let mut on_wait = Some(on_wait).filter(|_| !wait.is_zero());
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self::held(file)),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => {
                    return Err(FileError::from_io("lock", path, e).into());
                }
            }
            let left = wait.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(LockError::Held { holder: holder(&mut file), path: path.to_owned() });
            }
            if let Some(tell) = on_wait.take() {
                tell(&holder(&mut file));
            }
            std::thread::sleep(POLL.min(left));
        }
    }

    /// The name is a courtesy: a full disk must not keep anyone from a lock they hold.
    fn held(mut file: File) -> Self {
        let _ = file.set_len(0);
        let _ = file.write_all(our_name().as_bytes());
        Self { file }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
    }
}

fn open(path: &Path) -> Result<File, FileError> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or(0);
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| FileError::from_io("open", path, error))
}

fn our_name() -> String {
    let program = std::env::args_os().next().map(PathBuf::from);
    let name = program.as_deref().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let name = if name.is_empty() { "a program".into() } else { name };
    format!("{name} (pid {})", std::process::id())
}

/// What the file says of its holder: chosen by another program, so escaped.
fn holder(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let read = file.rewind().and_then(|()| file.take(HOLDER_BYTES_MAX).read_to_end(&mut bytes));
    match read {
        Ok(length) if length > 0 => escape(&String::from_utf8_lossy(&bytes)),
        _ => "another program".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(path: &Path) -> Result<FileLock, LockError> {
        FileLock::acquire(path, Duration::ZERO, |_| panic!("one try does not wait"))
    }

    #[test]
    fn one_holder_and_after_it_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = once(&path).unwrap();
        let Err(LockError::Held { holder, .. }) = once(&path) else { panic!("two holders") };
        assert!(holder.ends_with(&format!("(pid {})", std::process::id())), "{holder}");
        drop(first);
        assert!(once(&path).is_ok());
        assert_eq!(std::fs::read(&path).unwrap(), b"", "nobody's name stays behind");
    }

    #[test]
    fn the_waiting_is_told_once_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let _first = once(&path).unwrap();
        let mut told = 0;
        let second = FileLock::acquire(&path, Duration::from_millis(1), |_| told += 1);
        assert!(matches!(second, Err(LockError::Held { .. })));
        assert_eq!(told, 1);
    }

    #[test]
    fn the_holders_text_is_short_and_tame() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let _first = once(&path).unwrap();
        std::fs::write(&path, format!("\u{1b}[2J{}", "x".repeat(1000))).unwrap();
        let Err(LockError::Held { holder, .. }) = once(&path) else { panic!("two holders") };
        assert!(holder.starts_with("\\u{1b}[2J") && holder.len() < 200, "{holder}");
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let error = once(&folder.path().join("no/lock")).unwrap_err();
        assert!(matches!(error, LockError::File(FileError::Missing { .. })), "{error}");
    }
}
