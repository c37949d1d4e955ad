//! stdout and what people read on it: escaped text, relative times, plain tables, JSON lines.
//!
//! A name that a peer chose can hold an escape sequence that rewrites the screen, or a direction
//! override that makes `evil` read as something else (CVE-2021-42574). Nothing here uses colour, so
//! `NO_COLOR` is obeyed by having none.
//!
//! **Invariant:** [`escape`] returns one line of at most [`ESCAPED_CHARS_MAX`] characters without
//! controls; escaping it again changes nothing.
//! **Invariant:** a reader that closes the pipe ends the output quietly, not the program's work.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use shared::time::Timestamp;

/// Characters of escaped text: more than any name, less than a screen.
pub const ESCAPED_CHARS_MAX: usize = 200;

/// Makes text of unknown origin harmless on a terminal and in a log: controls (C0, DEL, C1), line
/// breaks, invisible and bidirectional characters become visible, and a long text ends in `…`.
#[must_use]
pub fn escape(text: &str) -> String {
    escape_to(text, ESCAPED_CHARS_MAX)
}

/// [`escape`] with another bound, for our own sentences around such text.
pub(crate) fn escape_to(text: &str, chars_max: usize) -> String {
    let mut out = String::new();
    let mut room = chars_max;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let piece = escape_char(c);
        let width = piece.chars().count();
        let last = rest.as_str().is_empty();
        if width > room || (width == room && !last) {
            out.push('…');
            return out;
        }
        room -= width;
        out.push_str(&piece);
    }
    out
}

fn escape_char(c: char) -> Cow<'static, str> {
    match c {
        '\n' => Cow::Borrowed("\\n"),
        '\r' => Cow::Borrowed("\\r"),
        '\t' => Cow::Borrowed("\\t"),
        c if c.is_control() || is_deceptive(c) => Cow::Owned(c.escape_unicode().to_string()),
        c => Cow::Owned(c.to_string()),
    }
}

/// Characters that reorder, break or hide text: zero-width and direction marks, overrides and
/// isolates (Unicode TR36 §2.10).
const fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A length of time as a person says it: `45 s`, `2 min`, `12 h`, `90 d`; rounded down, the sign
/// dropped.
#[must_use]
pub fn duration_words(seconds: i64) -> String {
    let s = seconds.unsigned_abs();
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min", s / 60),
        3_600..172_800 => format!("{} h", s / 3_600),
        _ => format!("{} d", s / 86_400),
    }
}

/// How far away a moment is: `2 min ago`, `in 6 d`, `now`.
#[must_use]
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let passed_s = now.ms_since(then) / 1000;
    match passed_s {
        0 => "now".to_owned(),
        1.. => format!("{} ago", duration_words(passed_s)),
        _ => format!("in {}", duration_words(passed_s)),
    }
}

/// A moment for the reader at hand: [`ago`] for a person on a terminal, RFC 3339 for a pipe.
#[must_use]
pub fn moment(then: Timestamp, now: Timestamp, tty: bool) -> String {
    if tty { ago(then, now) } else { then.to_string() }
}

/// Rows under a header in aligned columns, two spaces between them. Every cell is escaped.
#[derive(Debug, Clone, Default)]
pub struct Table {
    columns: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a header and no rows.
    #[must_use]
    pub fn new(header: &[&str]) -> Self {
        let mut table = Self { columns: header.len(), rows: Vec::new() };
        table.row(header.iter().copied());
        table
    }

    /// Adds a row. Cells beyond the header are dropped, missing ones stay blank.
    pub fn row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(cells.into_iter().take(self.columns).map(|c| escape(c.as_ref())).collect());
    }

    /// Whether there is nothing under the header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.len() <= 1
    }

    /// Writes the table to stdout.
    ///
    /// # Errors
    /// What the system says, except that the reader has gone.
    pub fn print(&self, out: &Out) -> io::Result<()> {
        out.text(&self.to_string())
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = vec![0; self.columns];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths
    }
}

/// The lines, each with its line feed and without trailing blanks.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for row in &self.rows {
            let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            let line = padded.collect::<Vec<_>>().join("  ");
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// stdout: lines for people or JSON for machines, as `--json` says.
#[derive(Debug)]
pub struct Out {
    json: bool,
    terminal: bool,
    closed: AtomicBool,
}

impl Out {
    /// stdout as it is now.
    #[must_use]
    pub fn new(json: bool) -> Self {
        Self { json, terminal: io::stdout().is_terminal(), closed: AtomicBool::new(false) }
    }

    /// Whether a person reads this directly.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether `--json` was asked for.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether the reader has gone. A command that prints for ever stops then; one that does work
    /// finishes it, and what it prints goes nowhere.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Writes a line. What others chose must be [`escape`]d in it.
    ///
    /// # Errors
    /// What the system says, except that the reader has gone.
    pub fn line(&self, text: &str) -> io::Result<()> {
        self.text(&format!("{text}\n"))
    }

    /// Writes one value as one line of JSON. Whoever prints JSON to a terminal still gets JSON, in
    /// which every control character is escaped by the format.
    ///
    /// # Errors
    /// As [`Out::line`], or that the value cannot be JSON.
    pub fn json(&self, value: &impl Serialize) -> io::Result<()> {
        self.line(&serde_json::to_string(value)?)
    }

    /// A moment for this reader; see [`moment`].
    #[must_use]
    pub fn moment(&self, then: Timestamp, now: Timestamp) -> String {
        moment(then, now, self.terminal)
    }

    fn text(&self, text: &str) -> io::Result<()> {
        self.write_to(&mut io::stdout().lock(), text)
    }

    fn write_to(&self, to: &mut impl Write, text: &str) -> io::Result<()> {
        if self.is_closed() {
            return Ok(());
        }
        match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed.store(true, Ordering::Relaxed);
                Ok(())
            }
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_act_on_a_terminal_becomes_visible() {
        for (bad, shown) in [
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{9b}31m\u{7f}\0", "\\u{9b}31m\\u{7f}\\u{0}"),
            ("user\u{202e}nimda\u{2066}", "user\\u{202e}nimda\\u{2066}"),
            ("a\u{2028}b\u{200b}c", "a\\u{2028}b\\u{200b}c"),
        ] {
            assert_eq!(escape(bad), shown);
            assert_eq!(escape(shown), shown, "twice is once");
        }
    }

    #[test]
    fn plain_text_in_any_script_stays() {
        for good in ["alice", "C:\\new", "Zoë 東京 🙂", "100 %", ""] {
            assert_eq!(escape(good), good);
        }
    }

    #[test]
    fn two_hundred_characters_fit_and_one_more_does_not() {
        let full = "ä".repeat(200);
        assert_eq!(escape(&full), full);
        let cut = escape(&"ä".repeat(201));
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (200, true));
        assert_eq!(escape(&cut), cut);
        for length in 195..205 {
            let cut = escape(&format!("{}\u{1b}", "x".repeat(length)));
            assert!(cut.chars().count() <= 200, "an escape is not cut in the middle");
            assert!(cut.ends_with("\\u{1b}") || cut.ends_with('…'));
        }
    }

    #[test]
    fn times_are_told_as_people_do() {
        let now = Timestamp::from_s(1_795_000_000);
        for (seconds, words) in [
            (0, "now"),
            (-59, "59 s ago"),
            (-120, "2 min ago"),
            (-3_600, "1 h ago"),
            (-172_799, "47 h ago"),
            (-172_800, "2 d ago"),
            (6 * 86_400, "in 6 d"),
        ] {
            assert_eq!(ago(now.plus_s(seconds), now), words);
        }
    }

    #[test]
    fn a_pipe_gets_the_moment_itself() {
        let now = Timestamp::from_s(1_795_000_000);
        let then = now.plus_s(-120);
        assert_eq!(moment(then, now, true), "2 min ago");
        assert_eq!(moment(then, now, false), then.to_string());
    }

    #[test]
    fn columns_align_and_cells_are_tame() {
        let mut table = Table::new(&["NAME", "STATE"]);
        assert!(table.is_empty());
        table.row(["alice", "up"]);
        table.row(["b", "down\n", "too much"]);
        table.row(["c"]);
        assert!(!table.is_empty());
        assert_eq!(table.to_string(), "NAME   STATE\nalice  up\nb      down\\n\nc\n");
    }

    struct Pipe(ErrorKind);

    impl Write for Pipe {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_leaves_is_no_error_and_a_full_disk_is() {
        let out = Out::new(false);
        assert!(out.write_to(&mut Pipe(ErrorKind::StorageFull), "x").is_err());
        assert!(!out.is_closed());
        out.write_to(&mut Pipe(ErrorKind::BrokenPipe), "x").unwrap();
        assert!(out.is_closed());
        let mut later = Vec::new();
        out.write_to(&mut later, "y").unwrap();
        assert!(later.is_empty(), "no half a listing after a gap");
    }
}
