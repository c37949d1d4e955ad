//! YAML that people write: read within bounds, errors with file, line, column and a suggestion.
//!
//! The only file that knows the YAML crate. Of YAML's reach, anchors and aliases are refused before
//! the parser sees them: a settings file has no use for them, and an alias to a list of aliases is
//! how 64 KiB become gigabytes. Brackets are counted too, because the scanner's work grows with
//! their square. Types refuse unknown keys (`deny_unknown_fields`), so a mistyped key is an error
//! that names its nearest neighbour instead of a default that silently stays.
//!
//! **Invariant:** work and memory stay proportional to the text, which has a bound.
//! **Invariant:** no anchor or alias reaches the parser.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::terminal::escape;

/// Bytes of one file: the longest that ships has about 4 KiB, sixteen times that is a long profile.
pub const YAML_BYTES_MAX: usize = 64 * 1024;
/// Opening brackets in one file; the files that ship are written in lines and have a handful.
const BRACKETS_MAX: usize = 1024;
/// Keys listed in an error, so that it stays readable.
const KNOWN_KEYS_MAX: usize = 32;

/// Where in which file, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Line and column, where they are known.
    pub at: Option<(usize, usize)>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        self.at.map_or(Ok(()), |(line, column)| write!(f, ":{line}:{column}"))
    }
}

/// Why YAML cannot be read or written. Whose fault: whoever wrote the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum YamlError {
    /// More than [`YAML_BYTES_MAX`].
    #[error("{place}: the file has {length} bytes; at most {YAML_BYTES_MAX} are read")]
    TooLarge {
        /// The file.
        place: Place,
        /// Its length.
        length: usize,
    },
    /// An anchor (`&name`) or an alias (`*name`), or text that begins like one.
    #[error("{place}: anchors and aliases are not read here")]
    Anchor {
        /// Where it stands.
        place: Place,
    },
    /// More opening brackets than any settings need.
    #[error("{place}: more than {BRACKETS_MAX} opening brackets")]
    Brackets {
        /// The first one too many.
        place: Place,
    },
    /// A key that the type does not have.
    #[error("{place}: unknown key {key}{}", list(known))]
    UnknownKey {
        /// Where it stands.
        place: Place,
        /// The key, escaped.
        key: String,
        /// The keys there are.
        known: Vec<String>,
    },
    /// Not YAML, or not of the wanted shape.
    #[error("{place}: {what}")]
    Invalid {
        /// Where it was noticed.
        place: Place,
        /// What is wrong, escaped.
        what: String,
    },
    /// A value that YAML cannot hold. Whose fault: ours.
    #[error("cannot write this as yaml: {what}")]
    Write {
        /// What is wrong.
        what: String,
    },
}

impl YamlError {
    /// A thing to do or to type, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { key, known, .. } => Some(match nearest(key, known) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "remove the key, or correct its spelling".to_owned(),
            }),
            Self::Anchor { .. } => Some(
                "write the value out; a text that begins with & or * needs quotes around it"
                    .to_owned(),
            ),
            Self::Brackets { .. } => Some("write lists in lines that begin with -".to_owned()),
            Self::TooLarge { .. } => Some("check that this is the file you meant".to_owned()),
            Self::Invalid { .. } => Some("correct the file at the place named".to_owned()),
            Self::Write { .. } => None,
        }
    }
}

/// Reads a value out of YAML text; `file` is only named in errors.
///
/// # Errors
/// [`YamlError`] with the place and what is wrong there.
pub fn parse<T: DeserializeOwned>(text: &str, file: &Path) -> Result<T, YamlError> {
    let place = |at| Place { file: file.to_owned(), at };
    if text.len() > YAML_BYTES_MAX {
        return Err(YamlError::TooLarge { place: place(None), length: text.len() });
    }
    match refused(text) {
        Some((Refused::Anchor, at)) => return Err(YamlError::Anchor { place: place(Some(at)) }),
        Some((Refused::Bracket, at)) => return Err(YamlError::Brackets { place: place(Some(at)) }),
        None => {}
    }
    serde_yaml::from_str(text).map_err(|error| explain(&error, file))
}

/// Writes a value as YAML text.
///
/// # Errors
/// [`YamlError::Write`] if YAML has no form for it.
pub fn to_text<T: Serialize>(value: &T) -> Result<String, YamlError> {
    serde_yaml::to_string(value).map_err(|error| YamlError::Write { what: error.to_string() })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Anchor,
    Bracket,
}

/// Finds what must not reach the parser, and its line and column.
///
/// Quotes are not tracked: whoever hides an alias would do it by confusing the tracking. So `&` and
/// `*` before a name are refused wherever a token could begin, even inside quotes. A `#` is a
/// comment unless it stands inside a quoted text, and then a quote must come before anything else
/// can begin on that line; so only the rest up to the next quote is skipped.
fn refused(text: &str) -> Option<(Refused, (usize, usize))> {
    let (mut line, mut column, mut brackets) = (1, 0, 0);
    let mut before = '\n';
    let mut comment = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        column += 1;
        let starts = before.is_whitespace() || matches!(before, '[' | '{' | ',' | ':' | '\u{feff}');
        let named = chars.peek().is_some_and(|n| n.is_alphanumeric() || matches!(n, '_' | '-'));
        match c {
            c if is_break(c) => {
                comment = false;
                (line, column) = (line + usize::from(c != '\r'), 0);
            }
            '"' | '\'' => comment = false,
            '#' if before.is_whitespace() => comment = true,
            _ if comment => {}
            '&' | '*' if starts && named => return Some((Refused::Anchor, (line, column))),
            '[' | '{' if brackets == BRACKETS_MAX => {
                return Some((Refused::Bracket, (line, column)));
            }
            '[' | '{' => brackets += 1,
            _ => {}
        }
        before = c;
    }
    None
}

/// The line breaks of YAML 1.1, which the parser follows.
const fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn explain(error: &serde_yaml::Error, file: &Path) -> YamlError {
    let at = error.location().map(|location| (location.line(), location.column()));
    let place = Place { file: file.to_owned(), at };
    let what = without_place(&error.to_string());
    match unknown_key(&what) {
        Some((key, known)) => YamlError::UnknownKey { place, key, known },
        None => YamlError::Invalid { place, what: escape(&what) },
    }
}

/// Drops the crate's own ` at line 3 column 4`, which stands in front already.
fn without_place(text: &str) -> String {
    let found = text.split_once(" at line ").and_then(|(head, tail)| {
        let digits = |c: char| c.is_ascii_digit();
        let tail = tail.trim_start_matches(digits).strip_prefix(" column ")?;
        Some(format!("{head}{}", tail.trim_start_matches(digits)))
    });
    found.unwrap_or_else(|| text.to_owned())
}

/// Takes apart serde's "unknown field `x`, expected one of `a`, `b`" or "expected `a` or `b`".
fn unknown_key(what: &str) -> Option<(String, Vec<String>)> {
    let (_, rest) = what.split_once("unknown field `")?;
    let (key, rest) = rest.split_once("`, ").or_else(|| rest.rsplit_once('`'))?;
    let known = rest.split('`').skip(1).step_by(2).map(str::to_owned);
    Some((escape(key), known.take(KNOWN_KEYS_MAX).collect()))
}

fn list(known: &[String]) -> String {
    if known.is_empty() {
        return String::new();
    }
    format!("; known here: {}", known.join(", "))
}

/// The known key that needs the fewest changes, if a typing error explains the difference.
fn nearest<'a>(key: &str, known: &'a [String]) -> Option<&'a str> {
    let best = known.iter().min_by_key(|name| distance(key, name))?;
    let allowed = 1 + best.chars().count().min(key.chars().count()) / 3;
    (distance(key, best) <= allowed).then_some(best)
}

/// How many characters must be put in, taken out or changed (Levenshtein), one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let (mut diagonal, mut left) = (i, i + 1);
        for (above, to) in row.iter_mut().skip(1).zip(b.chars()) {
            let changed = diagonal + usize::from(from != to);
            let here = changed.min(left + 1).min(*above + 1);
            diagonal = std::mem::replace(above, here);
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        listen: String,
        #[serde(default)]
        topics: Vec<String>,
        #[serde(default)]
        limits: Limits,
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Limits {
        links: u32,
    }

    fn read(text: &str) -> Result<Settings, YamlError> {
        parse(text, Path::new("peer.yaml"))
    }

    fn said(text: &str) -> (String, Option<String>) {
        let error = read(text).unwrap_err();
        (error.to_string(), error.hint())
    }

    fn any(text: &str) -> Result<serde_yaml::Value, YamlError> {
        parse(text, Path::new("any.yaml"))
    }

    #[test]
    fn text_and_back() {
        let settings = read("listen: a:1\ntopics: [x, \"*\"]\nlimits: {links: 3}\n").unwrap();
        assert_eq!(settings.limits.links, 3);
        assert_eq!(read(&to_text(&settings).unwrap()).unwrap(), settings);
    }

    #[test]
    fn a_mistyped_key_is_shown_its_neighbour() {
        let (what, hint) = said("listen: a:1\nlimits:\n  lnks: 3\n");
        assert_eq!(what, "peer.yaml:3:3: unknown key lnks; known here: links");
        assert_eq!(hint.unwrap(), "did you mean `links`?");
        let (what, hint) = said("lisen: a:1\n");
        assert_eq!(what, "peer.yaml:1:1: unknown key lisen; known here: listen, topics, limits");
        assert_eq!(hint.unwrap(), "did you mean `listen`?");
        let (_, hint) = said("colour: red\n");
        assert!(!hint.unwrap().contains("did you mean"), "nothing is near");
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        for (text, what) in [
            (
                "listen: a:1\nlimits: {links: many}\n",
                "peer.yaml:2:17: limits.links: invalid type: \
              string \"many\", expected u32",
            ),
            ("topics: []\n", "peer.yaml:1:1: missing field `listen`"),
        ] {
            assert_eq!(said(text).0, what);
        }
        let (what, _) = said("listen: [a\n");
        assert!(what.starts_with("peer.yaml:") && !what.contains(" at line 2 column 1"), "{what}");
        assert!(read("").is_err());
        assert!(read("listen: a\n---\nlisten: b\n").is_err(), "two documents");
        assert!(read("listen: a\nlisten: b\n").is_err(), "twice the same key");
    }

    #[test]
    fn what_the_file_says_is_escaped() {
        let (what, _) = said("\"\\e[2J\": 1\n");
        assert!(what.contains("\\u{1b}[2J") && !what.contains('\u{1b}'), "{what}");
        let (what, _) = said("listen: a\nlimits: \"\\e[2J\"\n");
        assert!(!what.contains('\u{1b}'), "{what}");
    }

    #[test]
    fn aliases_are_refused_wherever_they_hide() {
        for text in [
            "a: &x [1]\nb: *x\n",
            "a: &x\n  - 1\n",
            "[*x]",
            "{a: *x}",
            "[1,*x]",
            "{\"a\":*x}",
            "- *x",
            "&x a: b",
            "? &x a\n: b",
            "a: \"x # \"\nb: *x",
            "a: [\"x # \", *x]",
            "a: ['x\n # ', *x]",
            "a: b # comment\u{2028}c: *x",
            "a: b # comment\u{85}c: *x",
            "a: b # comment\rc: *x",
            "\u{feff}*x",
            "a: !tag &x b",
        ] {
            assert!(matches!(any(text), Err(YamlError::Anchor { .. })), "{text}");
        }
        let (what, hint) = said("listen: &a x\n");
        assert_eq!(what, "peer.yaml:1:9: anchors and aliases are not read here");
        assert!(hint.is_some());
    }

    #[test]
    fn stars_and_ampersands_in_text_are_text() {
        for text in [
            "a: \"*\"",
            "a: \"*x\"",
            "a: b*c & d&e",
            "# see *this* and &that\na: b",
            "a: b # not *this* one",
            "a: 2 * 3",
            "a: 'x & y'",
        ] {
            assert!(any(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn an_alias_bomb_does_not_go_off() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..20 {
            let before = vec![format!("*a{}", i - 1); 9].join(",");
            bomb.push_str(&format!("a{i}: &a{i} [{before}]\n"));
        }
        assert!(matches!(any(&bomb), Err(YamlError::Anchor { .. })));
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
        assert!(matches!(any(&"[".repeat(60_000)), Err(YamlError::Brackets { .. })));
        assert!(any(&"[".repeat(1024)).is_err());
        assert!(any(&"- ".repeat(30_000)).is_err());
        assert!(any(&"? ".repeat(30_000)).is_err());
        let mut steps = String::new();
        for depth in 0..300 {
            steps.push_str(&format!("{}a:\n", " ".repeat(depth)));
        }
        assert!(any(&steps).is_err());
        assert!(any(&format!("{}1{}", "[".repeat(20), "]".repeat(20))).is_ok());
    }

    #[test]
    fn the_bound_itself_fits_and_one_more_does_not() {
        let mut text = "a: b\n".to_owned();
        text.push_str(&"#".repeat(YAML_BYTES_MAX - text.len()));
        let read = parse::<BTreeMap<String, String>>(&text, Path::new("a"));
        assert_eq!(read.unwrap().len(), 1);
        text.push('#');
        assert!(matches!(any(&text), Err(YamlError::TooLarge { .. })));
    }

    #[test]
    fn distances_are_counted() {
        for (a, b, count) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("listen", "lisen", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), count, "{a} {b}");
        }
    }
}
