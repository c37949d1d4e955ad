//! Subscriptions by the levels of their filters: a topic finds all that match it in one walk.
//!
//! A node of the tree is a level; `+` and `#` have places of their own beside the named ones. A
//! walk
//! visits at most the nodes there are, and its depth is bounded by the levels of a filter.
//!
//! **Invariant:** a node without values and children does not stay.

use std::collections::HashMap;

use crate::few::Few;

/// Values under filters, each with a key.
#[derive(Debug)]
pub struct Trie<K, V> {
    root: Node<K, V>,
    count: usize,
}

#[derive(Debug)]
struct Node<K, V> {
    /// Boxed, because a table has room for more than it holds.
    named: HashMap<Box<str>, Box<Self>>,
    plus: Option<Box<Self>>,
    /// Under `#` below this level, this level included.
    hash: Few<K, V>,
    here: Few<K, V>,
}

impl<K, V> Default for Node<K, V> {
    fn default() -> Self {
        Self { named: HashMap::new(), plus: None, hash: Few::None, here: Few::None }
    }
}

impl<K, V> Default for Trie<K, V> {
    fn default() -> Self {
        Self { root: Node::default(), count: 0 }
    }
}

impl<K: Ord + Clone, V> Trie<K, V> {
    /// How many values there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Puts a value under a well-formed filter; gives back what was there with this key.
    pub fn insert(&mut self, filter: &str, key: K, value: V) -> Option<V> {
        let mut node = &mut self.root;
        for level in filter.split('/') {
            node = match level {
                "#" => {
                    let before = node.hash.insert(key, value);
                    self.count += usize::from(before.is_none());
                    return before;
                }
                "+" => node.plus.get_or_insert_default(),
                name => node.named.entry(name.into()).or_default(),
            };
        }
        let before = node.here.insert(key, value);
        self.count += usize::from(before.is_none());
        before
    }

    /// Takes a value away.
    pub fn remove(&mut self, filter: &str, key: &K) -> Option<V> {
        let mut levels = filter.split('/');
        let gone = self.root.remove(&mut levels, key);
        self.count -= usize::from(gone.is_some());
        gone
    }

    /// Calls `found` with every value whose filter matches a topic, each once.
    pub fn matches<'t>(&'t self, topic: &str, mut found: impl FnMut(&'t K, &'t V)) {
        let hidden = topic.starts_with('$');
        let levels: Vec<&str> = topic.split('/').collect();
        self.root.matches(&levels, hidden, &mut found);
    }
}

impl<K: Ord, V> Node<K, V> {
    fn is_empty(&self) -> bool {
        let values = self.hash.is_empty() && self.here.is_empty();
        values && self.plus.is_none() && self.named.is_empty()
    }

    fn remove<'f>(&mut self, levels: &mut impl Iterator<Item = &'f str>, key: &K) -> Option<V> {
        match levels.next() {
            None => self.here.remove(key),
            Some("#") => self.hash.remove(key),
            Some("+") => {
                let child = self.plus.as_mut()?;
                let gone = child.remove(levels, key);
                if child.is_empty() {
                    self.plus = None;
                }
                gone
            }
            Some(name) => {
                let child = self.named.get_mut(name)?;
                let gone = child.remove(levels, key);
                if child.is_empty() {
                    self.named.remove(name);
                    // A level that once had thousands of names is not held for ever.
                    if self.named.capacity() > 64 && self.named.len() * 4 < self.named.capacity() {
                        self.named.shrink_to_fit();
                    }
                }
                gone
            }
        }
    }

    fn matches<'t>(&'t self, levels: &[&str], hidden: bool, found: &mut impl FnMut(&'t K, &'t V)) {
        if !hidden {
            self.hash.iter().for_each(|(key, value)| found(key, value));
        }
        let Some((level, rest)) = levels.split_first() else {
            return self.here.iter().for_each(|(key, value)| found(key, value));
        };
        if let Some(child) = self.named.get(*level) {
            child.matches(rest, false, found);
        }
        if let Some(child) = self.plus.as_ref().filter(|_| !hidden) {
            child.matches(rest, false, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::policy::{Filter, matches};

    use super::*;

    fn found(trie: &Trie<usize, ()>, topic: &str) -> Vec<usize> {
        let mut all = Vec::new();
        trie.matches(topic, |key, ()| all.push(*key));
        all.sort_unstable();
        all
    }

    #[test]
    fn the_last_to_go_leaves_nothing_behind() {
        let mut trie = Trie::default();
        for (key, filter) in ["a/b", "a/+", "a/#", "#", "+/b"].iter().enumerate() {
            assert!(trie.insert(filter, key, ()).is_none());
        }
        assert_eq!(found(&trie, "a/b"), [0, 1, 2, 3, 4]);
        assert_eq!(found(&trie, "a"), [2, 3]);
        assert_eq!(found(&trie, "$SYS/b"), [] as [usize; 0]);
        for (key, filter) in ["a/b", "a/+", "a/#", "#", "+/b"].iter().enumerate() {
            assert!(trie.remove(filter, &key).is_some());
            assert!(trie.remove(filter, &key).is_none());
        }
        assert!(trie.is_empty() && trie.root.is_empty());
    }

    #[test]
    fn a_second_with_the_same_key_takes_the_place() {
        let mut trie = Trie::default();
        assert_eq!(trie.insert("a", 1, "old"), None);
        assert_eq!(trie.insert("a", 1, "new"), Some("old"));
        assert_eq!(trie.len(), 1);
    }

    proptest! {
        /// It finds what the one-by-one comparison finds, whatever was put in and taken out.
        #[test]
        fn it_agrees_with_the_definition(
            filters in prop::collection::vec("(\\$?[ab]?|\\+)(/([ab]?|\\+)){0,3}(/#)?", 1..12),
            gone in prop::collection::vec(any::<bool>(), 12),
            topic in "\\$?[ab]?(/[ab]?){0,3}",
        ) {
            let filters: Vec<Filter> =
                filters.iter().filter_map(|text| Filter::parse(text).ok()).collect();
            let mut trie = Trie::default();
            for (key, filter) in filters.iter().enumerate() {
                trie.insert(filter.as_str(), key, ());
            }
            for (key, filter) in filters.iter().enumerate().filter(|(key, _)| gone[*key]) {
                trie.remove(filter.as_str(), &key);
            }
            let left = filters.iter().enumerate().filter(|(key, _)| !gone[*key]);
            let expected: Vec<usize> = left
                .filter(|(_, filter)| matches(filter, &topic, |_| None))
                .map(|(key, _)| key)
                .collect();
            prop_assert_eq!(found(&trie, &topic), expected);
        }
    }
}
