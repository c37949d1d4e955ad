//! What a client may name: a topic, a filter, or a filter that a group shares (MQTT 5.0 §4.7,
//! §4.8).
//!
//! **Invariant:** a [`Wanted`] has a well-formed filter without its `$share` prefix, and neither it
//! nor a topic that [`is_publishable`] has more levels than [`LEVELS_MAX`].

use bytestring::ByteString;
use shared::policy::{Filter, is_topic};

use crate::limits::LEVELS_MAX;

/// What precedes the group of a shared subscription.
pub(crate) const SHARE: &str = "$share/";

/// One filter of a SUBSCRIBE, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The group that shares it.
    pub group: Option<ByteString>,
    /// Without that group.
    pub filter: Filter,
}

impl Wanted {
    /// Parses a filter as a client wrote it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (group, rest) = match text.strip_prefix(SHARE) {
            None => (None, text),
            Some(shared) => {
                let (group, rest) = shared.split_once('/')?;
                if group.is_empty() || group.contains(['+', '#']) {
                    return None;
                }
                (Some(ByteString::from(group)), rest)
            }
        };
        let filter = Filter::parse(rest).ok()?;
        has_few_levels(rest).then_some(Self { group, filter })
    }

    /// As a client writes it.
    #[must_use]
    pub fn text(&self) -> ByteString {
        match &self.group {
            None => ByteString::from(self.filter.as_str()),
            Some(group) => ByteString::from(format!("{SHARE}{group}/{}", self.filter.as_str())),
        }
    }
}

/// Whether a client may publish under this name: what begins with `$` is the server's own (§4.7.2).
#[must_use]
pub fn is_publishable(topic: &str) -> bool {
    is_topic(topic) && !topic.starts_with('$') && has_few_levels(topic)
}

fn has_few_levels(text: &str) -> bool {
    text.bytes().filter(|octet| *octet == b'/').count() < LEVELS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_filter_is_taken_apart_and_put_together() {
        let wanted = Wanted::parse("$share/workers/plant/+/t").unwrap();
        assert_eq!(wanted.group.as_deref(), Some("workers"));
        assert_eq!(wanted.filter.as_str(), "plant/+/t");
        assert_eq!(&*wanted.text(), "$share/workers/plant/+/t");
        assert_eq!(&*Wanted::parse("a/#").unwrap().text(), "a/#");
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in ["", "$share/a", "$share//a", "$share/+/a", "$share/a/", "a/#/b", "a#"] {
            assert!(Wanted::parse(text).is_none(), "{text}");
        }
        assert!(Wanted::parse(&"/".repeat(LEVELS_MAX - 1)).is_some());
        assert!(Wanted::parse(&"/".repeat(LEVELS_MAX)).is_none());
    }

    #[test]
    fn the_servers_own_topics_are_not_published_by_clients() {
        assert!(is_publishable("a/b") && is_publishable("\u{feff}a") && is_publishable("/"));
        for topic in ["", "$SYS/x", "$mesh/peers/a/state", "a/+", "a/#", &"/".repeat(LEVELS_MAX)] {
            assert!(!is_publishable(topic), "{topic}");
        }
    }
}
