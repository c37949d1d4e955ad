//! A policy as a person writes it: YAML with rules, quotas and tests, read into shared types.
//!
//! Reading, bounds, contradictions and tests are one check: `check` and `push` both make it.
//!
//! **Invariant:** a [`PolicyFile`] from [`PolicyFile::read`] is within its bounds and free of
//! contradictions; one that went through [`PolicyFile::passed`] does what its tests say.

mod export;
mod show;
mod text;
mod trial;

use std::path::{Path, PathBuf};

use host::files;
use shared::policy::{Policing, Policy};
use shared::time::Timestamp;

use crate::error::CaError;

pub use export::{Export, Format, Subject, export};
pub use show::{to_value, to_yaml};
pub use trial::{Outcome, Trial};

/// The commented default, as it ships.
const DEFAULT: &str = include_str!("../../../pki/policy.yaml");
/// Failed tests that an error names; `policy test` shows all of them.
const NAMED_MAX: usize = 3;

/// A policy file that was read.
#[derive(Debug, Clone)]
pub struct PolicyFile {
    /// Where it stands.
    pub path: PathBuf,
    /// What it says; its number is 1 until it is signed.
    pub policy: Policy,
    /// Its tests.
    pub trials: Vec<Trial>,
}

impl PolicyFile {
    /// Reads a file: its shape, its bounds, its contradictions.
    ///
    /// # Errors
    /// With file, line and column, or the rule that cannot be meant.
    pub fn read(path: &Path) -> Result<Self, CaError> {
        let bytes = files::read_bounded(path, host::yaml::YAML_BYTES_MAX)?;
        let text = String::from_utf8(bytes).map_err(|_| CaError::Content {
            path: path.to_owned(),
            what: "not UTF-8 text".to_owned(),
        })?;
        Self::parse(&text, path)
    }

    /// The default that ships.
    ///
    /// # Errors
    /// Never in practice: a test reads it.
    pub fn shipped() -> Result<Self, CaError> {
        Self::parse(DEFAULT, Path::new("policy.yaml (built in)"))
    }

    fn parse(text: &str, path: &Path) -> Result<Self, CaError> {
        let text::FileText { rules, quotas, tests } = host::yaml::parse(text, path)?;
        let rules = rules.into_iter().map(text::RuleText::into_rule).collect::<Result<_, _>>();
        let wrong = |what| CaError::Content { path: path.to_owned(), what };
        let policy = Policy {
            number: 1,
            at: Timestamp::default(),
            rules: rules.map_err(wrong)?,
            quotas: quotas.into_iter().map(text::QuotaText::into_quota).collect(),
        };
        let refused = |source| CaError::PolicyFile { path: path.to_owned(), source };
        policy.check().map_err(refused)?;
        let trials = tests.into_iter().map(text::TestText::into_trial).collect();
        Ok(Self { path: path.to_owned(), policy, trials })
    }

    /// Runs every test.
    #[must_use]
    pub fn outcomes(&self) -> Vec<Outcome> {
        let policing = Policing::new(&self.policy);
        let numbered = (1..).zip(&self.trials);
        numbered.map(|(number, trial)| trial.run(number, &policing)).collect()
    }

    /// Says how many tests there are, all of which pass.
    ///
    /// # Errors
    /// [`CaError::PolicyTests`] with those that fail.
    pub fn passed(&self) -> Result<usize, CaError> {
        let outcomes = self.outcomes();
        let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| !outcome.passed).collect();
        if failed.is_empty() {
            return Ok(outcomes.len());
        }
        Err(CaError::PolicyTests {
            path: self.path.clone(),
            failed: failed.len(),
            of: outcomes.len(),
            first: failed.iter().take(NAMED_MAX).map(|outcome| outcome.sentence()).collect(),
        })
    }
}

#[cfg(test)]
mod tests;
