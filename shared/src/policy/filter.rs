//! Topic filters as MQTT has them (MQTT 5.0 §4.7), matched and compared.
//!
//! Levels are parted by `/`; `+` stands for one level, `#` at the end for any number of them, the
//! level above included. A filter that begins with a wildcard does not match a topic that begins
//! with `$`. In a policy's filter the levels `%node` and `%client` stand for the asker's own.
//!
//! **Invariant:** a [`Filter`] is well formed.

use minicbor::{Decode, Encode};

use crate::limits::TOPIC_BYTES_MAX;

/// Why a text is no topic filter. Whose fault: whoever wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Empty, or longer than a topic may be.
    #[error("a topic filter has 1 to {TOPIC_BYTES_MAX} bytes")]
    Length,
    /// A NUL, which no topic may hold.
    #[error("a topic filter holds no NUL")]
    Nul,
    /// A wildcard that is not a whole level, or a `#` that is not the last.
    #[error("`+` and `#` stand for whole levels, and `#` is the last")]
    Wildcard,
}

/// A well-formed topic filter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode)]
#[cbor(transparent)]
pub struct Filter(#[n(0)] String);

impl Filter {
    /// Parses a filter.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.is_empty() || text.len() > TOPIC_BYTES_MAX {
            return Err(FilterError::Length);
        }
        if text.contains('\0') {
            return Err(FilterError::Nul);
        }
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            let wild = level.contains(['+', '#']);
            if (wild && level.len() > 1) || (level == "#" && levels.peek().is_some()) {
                return Err(FilterError::Wildcard);
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether it names something of the asker's that there is not: a typing error.
    pub(super) fn is_strange(&self) -> bool {
        let known = |level: &str| !level.starts_with('%') || matches!(level, "%node" | "%client");
        !self.0.split('/').all(known)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'b, C> Decode<'b, C> for Filter {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::parse(d.str()?).map_err(|_| minicbor::decode::Error::message("not a topic filter"))
    }
}

/// Whether a text is the name of one topic: no wildcard, no NUL, not too long.
#[must_use]
pub fn is_topic(text: &str) -> bool {
    !text.is_empty() && text.len() <= TOPIC_BYTES_MAX && !text.contains(['+', '#', '\0'])
}

/// Whether a filter matches a topic; `own` gives what `%node` and `%client` stand for.
#[must_use]
pub fn matches<'o>(filter: &Filter, topic: &str, own: impl Fn(&str) -> Option<&'o str>) -> bool {
    let hidden = topic.starts_with('$');
    let mut levels = topic.split('/');
    for (index, level) in filter.0.split('/').enumerate() {
        if hidden && index == 0 && matches!(level, "+" | "#") {
            return false;
        }
        match (level, levels.next()) {
            ("#", _) => return true,
            (_, None) => return false,
            ("+", Some(_)) => {}
            (level, Some(found)) if same(level, found, &own) => {}
            _ => return false,
        }
        if levels.clone().next().is_none() && filter.0.split('/').nth(index + 1) == Some("#") {
            return true;
        }
    }
    levels.next().is_none()
}

/// Whether every topic that `inner` matches is matched by `outer` too.
#[must_use]
pub fn covers<'o>(outer: &Filter, inner: &Filter, own: impl Fn(&str) -> Option<&'o str>) -> bool {
    let hidden = inner.0.starts_with('$');
    let mut inner_levels = inner.0.split('/');
    let mut outer_levels = outer.0.split('/').enumerate().peekable();
    while let Some((index, level)) = outer_levels.next() {
        if hidden && index == 0 && matches!(level, "+" | "#") {
            return false;
        }
        match (level, inner_levels.next()) {
            ("#", _) => return true,
            (_, None | Some("#")) => return false,
            ("+", Some(_)) => {}
            (_, Some("+")) => return false,
            (level, Some(found)) if same(level, found, &own) => {}
            _ => return false,
        }
        let rest = inner_levels.clone().next();
        if rest.is_none() && outer_levels.peek().is_some_and(|(_, next)| *next == "#") {
            return true;
        }
    }
    inner_levels.next().is_none()
}

/// Whether there is a topic that both match: a subscription is denied when it only touches what a
/// rule denies.
#[must_use]
pub fn overlaps<'o>(one: &Filter, other: &Filter, own: impl Fn(&str) -> Option<&'o str>) -> bool {
    let hidden = |filter: &Filter| filter.0.starts_with('$');
    let wild = |filter: &Filter| filter.0.starts_with(['+', '#']);
    if (hidden(one) && wild(other)) || (hidden(other) && wild(one)) {
        return false;
    }
    let (mut ours, mut theirs) = (one.0.split('/'), other.0.split('/'));
    loop {
        match (ours.next(), theirs.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
            (Some(ours), Some(theirs)) if same(ours, theirs, &own) => {}
            _ => return false,
        }
    }
}

fn same<'o>(level: &str, found: &str, own: &impl Fn(&str) -> Option<&'o str>) -> bool {
    if level.starts_with('%') && matches!(level, "%node" | "%client") {
        return own(level).is_some_and(|own| own == found);
    }
    level == found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(text: &str) -> Filter {
        Filter::parse(text).unwrap()
    }

    fn own(name: &str) -> Option<&'static str> {
        (name == "%node").then_some("alice")
    }

    #[test]
    fn filters_match_as_the_standard_says() {
        for (text, topic, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/#", "sport", true),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/x", false),
            ("+/monitor", "$SYS/monitor", false),
            ("$SYS/#", "$SYS/x", true),
            ("$SYS/#", "$SYS", true),
            ("a/b", "a/b/c", false),
            ("plant/%node/t", "plant/alice/t", true),
            ("plant/%node/t", "plant/bob/t", false),
            ("plant/%client/t", "plant/%client/t", false),
        ] {
            assert_eq!(matches(&filter(text), topic, own), expected, "{text} {topic}");
        }
    }

    #[test]
    fn a_filter_covers_what_it_contains() {
        for (outer, inner, expected) in [
            ("#", "a/+/c", true),
            ("a/#", "a", true),
            ("a/#", "a/#", true),
            ("a/+", "a/#", false),
            ("a/+", "a/+", true),
            ("a/b", "a/+", false),
            ("+/b", "a/b", true),
            ("#", "$SYS/#", false),
            ("a/%node/#", "a/alice/+", true),
            ("a/%node/#", "a/+/b", false),
        ] {
            assert_eq!(covers(&filter(outer), &filter(inner), own), expected, "{outer} {inner}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in ["", "a+", "a/#/b", "#/a", "a/b#", "a\0", &"x".repeat(TOPIC_BYTES_MAX + 1)] {
            assert!(Filter::parse(text).is_err(), "{text:?}");
        }
        assert!(!is_topic("a/+") && !is_topic("") && is_topic("a//b"));
    }

    fn some_filter() -> impl Strategy<Value = Filter> {
        let level = prop_oneof!["[ab]", Just("+".to_owned()), Just(String::new())];
        (prop::collection::vec(level, 1..4), any::<bool>()).prop_filter_map("", |(levels, hash)| {
            let text = levels.join("/") + if hash { "/#" } else { "" };
            Filter::parse(&text).ok()
        })
    }

    /// Every topic of at most so many levels that the filters above can tell apart.
    fn topics(levels: u32) -> impl Iterator<Item = String> {
        let topic = |depth: u32, number: u32| {
            let level = |at| ["a", "b", ""][(number / 3_u32.pow(at) % 3) as usize];
            (0..depth).map(level).collect::<Vec<_>>().join("/")
        };
        (1..=levels).flat_map(move |depth| (0..3_u32.pow(depth)).map(move |n| topic(depth, n)))
    }

    #[test]
    fn what_only_touches_overlaps() {
        for (one, other, expected) in [
            ("secret/#", "#", true),
            ("secret/#", "+/key", true),
            ("secret/#", "+/#", true),
            ("secret/#", "secret", true),
            ("secret/#", "public/#", false),
            ("a/+", "+/b", true),
            ("a/b", "a/b/c", false),
            ("$SYS/#", "#", false),
        ] {
            assert_eq!(overlaps(&filter(one), &filter(other), own), expected, "{one} {other}");
            assert_eq!(overlaps(&filter(other), &filter(one), own), expected, "{other} {one}");
        }
    }

    proptest! {
        /// Two filters that match one topic overlap; a filter overlaps what it covers.
        #[test]
        fn whatever_matches_both_overlaps(
            one in some_filter(), other in some_filter(), topic in "[ab/]{1,6}",
        ) {
            let both = matches(&one, &topic, own) && matches(&other, &topic, own);
            prop_assert!(!both || overlaps(&one, &other, own));
            prop_assert!(!covers(&one, &other, own) || overlaps(&one, &other, own));
        }

        /// And two that overlap have a topic that both match: of all up to a length, one is found.
        #[test]
        fn whatever_overlaps_meets_somewhere(one in some_filter(), other in some_filter()) {
            let both = |topic: &str| matches(&one, topic, own) && matches(&other, topic, own);
            let met = topics(4).any(|topic| both(&topic));
            prop_assert_eq!(overlaps(&one, &other, own), met);
        }

        /// Containment is right about topics, and is not shy: a filter covers itself.
        #[test]
        fn whatever_is_covered_matches(
            outer in some_filter(), inner in some_filter(), topic in "[ab/]{1,6}",
        ) {
            prop_assert!(covers(&inner, &inner, own));
            if covers(&outer, &inner, own) && matches(&inner, &topic, own) {
                prop_assert!(matches(&outer, &topic, own));
            }
        }
    }
}
