//! Certificate profiles: what a person may choose, read from commented YAML into a checked type.
//!
//! The YAML itself is parsed by `host`; this is the shape ([`ProfileText`]) and the check.
//!
//! **Invariant:** a [`Profile`] has `life_min ≤ life ≤ life_max`; a node's or an app's never
//! exceeds [`NODE_LIFE_DAYS_MAX`] days, and an app's usage is clientAuth alone.

use serde::{Deserialize, Serialize};

use super::member::Usages;
use crate::limits::{BACKDATE_PARTS, NODE_LIFE_DAYS_MAX};
use crate::name::{Label, MemberKind, NameError};
use crate::time::parse_duration_s;

/// What kind of certificate a profile describes; the hard rules hang on this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Self-signed, pathLen 1.
    Root,
    /// Signed by a root, pathLen 0.
    Issuing,
    /// An end entity: a machine on which a peer runs.
    Node,
    /// An end entity: a program or a device, which only connects.
    App,
}

impl Kind {
    /// What an end entity of this kind is; an authority is none.
    #[must_use]
    pub const fn member(self) -> Option<MemberKind> {
        match self {
            Self::Root | Self::Issuing => None,
            Self::Node => Some(MemberKind::Node),
            Self::App => Some(MemberKind::App),
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Issuing => "issuing",
            Self::Node => "node",
            Self::App => "app",
        }
    }
}

/// An extended key usage in a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExtendedUsage {
    /// serverAuth.
    ServerAuth,
    /// clientAuth.
    ClientAuth,
}

/// A profile as a person writes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProfileText {
    /// Its name.
    pub profile: String,
    /// Its kind.
    pub kind: Kind,
    /// Default length of life.
    pub life: String,
    /// Shortest life that may be asked for.
    pub life_min: String,
    /// Longest.
    pub life_max: String,
    /// How far notBefore lies in the past.
    pub backdate: String,
    /// For nodes and apps: their usages.
    #[serde(default)]
    pub extended_key_usage: Vec<ExtendedUsage>,
}

/// Why a profile is refused. Whose fault: whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The profile's name.
    #[error("profile: {0}")]
    Name(#[from] NameError),
    /// Not a length of time.
    #[error("{key}: {text:?} is not a length of time such as 12h or 7d")]
    Duration {
        /// Which key.
        key: &'static str,
        /// What stood there.
        text: String,
    },
    /// The bounds contradict each other.
    #[error("life must lie between life-min and life-max, and all must be positive")]
    Bounds,
    /// A node's certificate would live too long.
    #[error("life-max of a node or an app may be at most {NODE_LIFE_DAYS_MAX}d")]
    NodeLife,
    /// A node with no usage, or an authority with one.
    #[error("extended-key-usage belongs to nodes and apps, and they need at least one")]
    Usage,
    /// An app that could serve.
    #[error("extended-key-usage of an app is client-auth alone: it never serves")]
    AppUsage,
}

/// A checked profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: Label,
    /// Its kind.
    pub kind: Kind,
    /// Default life in seconds.
    pub life_s: i64,
    /// Shortest life in seconds.
    pub life_min_s: i64,
    /// Longest life in seconds.
    pub life_max_s: i64,
    /// Seconds between notBefore and now, at most; see [`Profile::backdate_of`].
    pub backdate_s: i64,
    /// A node's or an app's usages.
    pub usages: Usages,
}

impl Profile {
    /// Checks what a person wrote.
    ///
    /// # Errors
    /// [`ProfileError`] names the key.
    pub fn check(text: &ProfileText) -> Result<Self, ProfileError> {
        let has = |usage| text.extended_key_usage.contains(&usage);
        let profile = Self {
            name: Label::parse(&text.profile)?,
            kind: text.kind,
            life_s: duration("life", &text.life)?,
            life_min_s: duration("life-min", &text.life_min)?,
            life_max_s: duration("life-max", &text.life_max)?,
            backdate_s: duration("backdate", &text.backdate)?,
            usages: Usages {
                client: has(ExtendedUsage::ClientAuth),
                server: has(ExtendedUsage::ServerAuth),
            },
        };
        let ordered = profile.life_min_s <= profile.life_s && profile.life_s <= profile.life_max_s;
        if !ordered || profile.life_min_s <= 0 {
            return Err(ProfileError::Bounds);
        }
        let is_member = profile.kind.member().is_some();
        if is_member && profile.life_max_s > NODE_LIFE_DAYS_MAX * 86_400 {
            return Err(ProfileError::NodeLife);
        }
        let any_usage = profile.usages.client || profile.usages.server;
        if any_usage != is_member {
            return Err(ProfileError::Usage);
        }
        if profile.kind == Kind::App && profile.usages.server {
            return Err(ProfileError::AppUsage);
        }
        Ok(profile)
    }

    /// How far in the past a certificate begins that has so many seconds to live: one that began
    /// long before it was made would be due for renewal as soon as it is born, again and again.
    #[must_use]
    pub fn backdate_of(&self, life_s: i64) -> i64 {
        self.backdate_s.min(life_s.max(0) / BACKDATE_PARTS)
    }
}

fn duration(key: &'static str, text: &str) -> Result<i64, ProfileError> {
    parse_duration_s(text).ok_or_else(|| ProfileError::Duration { key, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> ProfileText {
        ProfileText {
            profile: "node".into(),
            kind: Kind::Node,
            life: "7d".into(),
            life_min: "1h".into(),
            life_max: "90d".into(),
            backdate: "5m".into(),
            extended_key_usage: vec![ExtendedUsage::ServerAuth, ExtendedUsage::ClientAuth],
        }
    }

    #[test]
    fn the_shipped_shape_is_accepted() {
        let profile = Profile::check(&node()).unwrap();
        assert_eq!((profile.life_s, profile.backdate_s), (604_800, 300));
    }

    #[test]
    fn an_app_has_one_usage() {
        let usages = vec![ExtendedUsage::ClientAuth];
        let app = ProfileText { kind: Kind::App, extended_key_usage: usages, ..node() };
        assert_eq!(Profile::check(&app).unwrap().usages, Usages { client: true, server: false });
        let long = ProfileText { life_max: "91d".into(), ..app.clone() };
        assert_eq!(Profile::check(&long).unwrap_err(), ProfileError::NodeLife);
        let none = ProfileText { extended_key_usage: Vec::new(), ..app };
        assert_eq!(Profile::check(&none).unwrap_err(), ProfileError::Usage);
    }

    #[test]
    fn a_short_life_does_not_begin_long_ago() {
        let profile = Profile::check(&node()).unwrap();
        let of = |life_s| profile.backdate_of(life_s);
        assert_eq!((of(604_800), of(3600), of(3599)), (300, 300, 299));
        assert_eq!((of(300), of(30), of(11), of(0), of(-5)), (25, 2, 0, 0, 0));
    }

    #[test]
    fn contradictions_are_refused() {
        let refused = |change: fn(&mut ProfileText)| {
            let mut text = node();
            change(&mut text);
            Profile::check(&text).unwrap_err()
        };
        assert_eq!(refused(|t| t.life_max = "91d".into()), ProfileError::NodeLife);
        assert_eq!(refused(|t| t.life = "30m".into()), ProfileError::Bounds);
        assert_eq!(refused(|t| t.life_min = "0s".into()), ProfileError::Bounds);
        assert_eq!(refused(|t| t.extended_key_usage.clear()), ProfileError::Usage);
        assert_eq!(refused(|t| t.kind = Kind::App), ProfileError::AppUsage);
        assert!(matches!(refused(|t| t.life = "7".into()), ProfileError::Duration { .. }));
        assert!(matches!(refused(|t| t.profile = "N".into()), ProfileError::Name(_)));
    }
}
