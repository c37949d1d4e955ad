//! `authority.yaml`: what a person may change about an authority, and the peers it knows.
//!
//! The program writes the file again when it learns of a peer; it writes it from a template, so
//! that the explanations stay.
//!
//! **Invariant:** a [`Settings`] that was read is complete and within its bounds.

use std::path::Path;

use host::files::{self, Mode};
use serde::Deserialize;
use shared::key::Algorithm;
use shared::name::NetworkName;
use shared::presence::is_address;
use shared::time::parse_duration_s;

use crate::error::CaError;

/// Peers that are remembered: any one of them is enough to reach the rest.
pub const VIA_MAX: usize = 16;

/// The settings of an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The network.
    pub network: NetworkName,
    /// The algorithm of new keys.
    pub algorithm: Algorithm,
    /// Peers that have answered, the last one first.
    pub via: Vec<String>,
    /// Seconds until the feed and the CRL want to be signed again.
    pub feed_life_s: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Text {
    network: NetworkName,
    algorithm: Algorithm,
    #[serde(default)]
    via: Vec<String>,
    #[serde(default = "feed_life")]
    feed_life: String,
}

fn feed_life() -> String {
    "30d".to_owned()
}

impl Settings {
    /// The settings of a new authority.
    #[must_use]
    pub const fn new(network: NetworkName, algorithm: Algorithm) -> Self {
        Self { network, algorithm, via: Vec::new(), feed_life_s: 30 * 86_400 }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// With file, line and column.
    pub fn read(path: &Path) -> Result<Self, CaError> {
        let bytes = files::read_bounded(path, host::yaml::YAML_BYTES_MAX)?;
        let wrong = |what: &str| CaError::Content { path: path.to_owned(), what: what.to_owned() };
        let text = String::from_utf8(bytes).map_err(|_| wrong("not UTF-8 text"))?;
        let text: Text = host::yaml::parse(&text, path)?;
        let feed_life_s = parse_duration_s(&text.feed_life)
            .filter(|s| (3_600..=366 * 86_400).contains(s))
            .ok_or_else(|| wrong("feed-life must be a length of time from 1h to 366d"))?;
        if text.via.len() > VIA_MAX || !text.via.iter().all(|via| is_address(via)) {
            return Err(wrong("via must list at most 16 addresses HOST:PORT"));
        }
        let Text { network, algorithm, via, .. } = text;
        Ok(Self { network, algorithm, via, feed_life_s })
    }

    /// Writes the file, with its explanations.
    ///
    /// # Errors
    /// What the disk says.
    pub fn write(&self, path: &Path) -> Result<(), CaError> {
        Ok(files::write_atomic(path, self.to_text().as_bytes(), Mode::Secret)?)
    }

    /// Puts a peer that answered first in the list; `true` if that changed anything.
    pub fn remember(&mut self, via: &str) -> bool {
        if self.via.first().is_some_and(|first| first == via) {
            return false;
        }
        self.via.retain(|known| known != via);
        self.via.insert(0, via.to_owned());
        self.via.truncate(VIA_MAX);
        true
    }

    fn to_text(&self) -> String {
        let via: String = self.via.iter().map(|via| format!("\n  - \"{via}\"")).collect();
        let via = if via.is_empty() { " []".to_owned() } else { via };
        format!(
            "# The authority of one network. Written by ca-tool; you may edit it.\n\
             network: {}        # fixed: every certificate carries it\n\
             algorithm: {}        # of new keys: p256, ed25519, ml-dsa-44, ml-dsa-65, ml-dsa-87\n\
             # How long a signed feed and CRL count as fresh; `ca-tool publish` signs them again.\n\
             feed-life: {}s\n\
             # Peers through which revocations reach the network; those that answer stay here.\n\
             via:{via}\n",
            self.network, self.algorithm, self.feed_life_s
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("authority.yaml");
        let network = NetworkName::parse("mesh.example").unwrap();
        for algorithm in Algorithm::ALL {
            let mut settings = Settings::new(network.clone(), algorithm);
            for via in ["a:1", "[::1]:7400", "a:1"] {
                settings.remember(via);
            }
            settings.write(&path).unwrap();
            assert_eq!(Settings::read(&path).unwrap(), settings);
            assert_eq!(settings.via, ["a:1", "[::1]:7400"]);
        }
    }

    #[test]
    fn a_typing_error_is_named_and_a_bad_address_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("authority.yaml");
        let said = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Settings::read(&path).unwrap_err()
        };
        let head = "network: a.b\nalgorithm: p256\n";
        assert!(said(&format!("{head}vai: []\n")).to_string().contains(":3:1: unknown key vai"));
        assert!(said(&format!("{head}via: [\"no port\"]\n")).to_string().contains("HOST:PORT"));
        assert!(said(&format!("{head}feed-life: 1m\n")).to_string().contains("feed-life"));
    }
}
