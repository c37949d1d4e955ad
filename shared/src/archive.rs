//! Signed statements in a file: a first line that says what they are, then each with its length.
//!
//! Whoever reads one verifies each statement again; the file itself proves nothing.
//!
//! **Invariant:** a file is read whole or not at all, and never more statements than asked for.

use crate::limits::STATEMENT_BYTES_MAX;

/// What the statements of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelf {
    /// Presences that a node remembers from run to run.
    Directory,
    /// Presences that contradict each other.
    Evidence,
}

impl Shelf {
    const fn title(self) -> &'static [u8] {
        match self {
            Self::Directory => b"CONCLAVE DIRECTORY 1\n",
            Self::Evidence => b"CONCLAVE EVIDENCE 1\n",
        }
    }

    /// The file's bytes.
    #[must_use]
    pub fn write(self, statements: &[Vec<u8>]) -> Vec<u8> {
        let mut out = self.title().to_vec();
        for statement in statements {
            let length = u32::try_from(statement.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(statement);
        }
        out
    }

    /// The statements of a file; `None` if it is of another kind or version, cut, or has more than
    /// `most`.
    #[must_use]
    pub fn read(self, bytes: &[u8], most: usize) -> Option<Vec<Vec<u8>>> {
        let mut rest = bytes.strip_prefix(self.title())?;
        let mut statements = Vec::new();
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let length = u32::from_be_bytes(*length) as usize;
            if length > STATEMENT_BYTES_MAX || statements.len() == most {
                return None;
            }
            let (statement, after) = after.split_at_checked(length)?;
            statements.push(statement.to_vec());
            rest = after;
        }
        Some(statements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_whole_or_not_at_all() {
        let list = vec![b"one".to_vec(), Vec::new(), b"three".to_vec()];
        let bytes = Shelf::Evidence.write(&list);
        assert_eq!(Shelf::Evidence.read(&bytes, 3), Some(list));
        assert_eq!(Shelf::Evidence.read(&bytes, 2), None, "more than asked for");
        assert_eq!(Shelf::Directory.read(&bytes, 3), None, "of another kind");
        let whole = [20, 20 + 7, 20 + 11, bytes.len()];
        for cut in (0..bytes.len()).filter(|cut| !whole.contains(cut)) {
            assert_eq!(Shelf::Evidence.read(&bytes[..cut], 3), None, "cut at {cut}");
        }
        let mut long = Shelf::Directory.write(&[]);
        long.extend_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(Shelf::Directory.read(&long, 3), None);
    }
}
