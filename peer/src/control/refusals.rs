//! Refusals in the control protocol: by whom, why and when.

use serde::{Deserialize, Serialize};
use shared::refusal::Code;
use shared::time::Timestamp;

/// Which side refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// We did.
    Us,
    /// They did.
    Them,
}

impl By {
    /// As it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Us => "us",
            Self::Them => "them",
        }
    }
}

/// The last refusal between us and a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRefusal {
    /// Why.
    #[serde(with = "code")]
    pub code: Code,
    /// Whose.
    pub by: By,
    /// When.
    pub at: Timestamp,
    /// What was wrong with which thing.
    pub detail: String,
}

/// A refusal of late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// The node's name if it is known, else an address.
    pub who: String,
    /// Why.
    #[serde(with = "code")]
    pub code: Code,
    /// Whose.
    pub by: By,
}

/// A refusal code as its text.
pub(super) mod code {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use shared::refusal::Code;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape serde wants")]
    pub(in crate::control) fn serialize<S: Serializer>(
        code: &Code,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(code.as_str())
    }

    pub(in crate::control) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Code, D::Error> {
        let text = String::deserialize(from)?;
        Code::parse(&text).ok_or_else(|| serde::de::Error::custom("not a refusal code"))
    }
}
