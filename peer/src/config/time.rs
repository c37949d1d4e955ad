//! The `time:` section of `node.yaml`.
//!
//! **Invariant:** without the section a peer asks nobody but the members that offer the time.

use serde::Deserialize;

use super::source::{self, Source, SourceText};

/// The settings of the mesh clock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Time {
    /// Whom a person has chosen to be asked.
    pub sources: Vec<Source>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TimeText {
    #[serde(default)]
    sources: Vec<SourceText>,
}

impl TimeText {
    pub(super) fn check(self) -> Result<Time, String> {
        Ok(Time { sources: source::check(self.sources)? })
    }
}
