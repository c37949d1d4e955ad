//! A map that mostly has one entry: a node of `BTreeMap` has room for eleven, which for a device's
//! only subscription is a kilobyte of nothing.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::collections::btree_map;

/// See above.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Few<K, V> {
    #[default]
    None,
    One(Box<(K, V)>),
    #[allow(clippy::box_collection, reason = "it is rare, and its place would be in every one")]
    Many(Box<BTreeMap<K, V>>),
}

impl<K: Ord, V> Few<K, V> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(many) => many.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        match self {
            Self::None => false,
            Self::One(one) => one.0.borrow() == key,
            Self::Many(many) => many.contains_key(key),
        }
    }

    /// Puts an entry; gives what was there under its key.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match std::mem::take(self) {
            Self::None => {
                *self = Self::One(Box::new((key, value)));
                None
            }
            Self::One(mut one) if one.0 == key => {
                let before = std::mem::replace(&mut one.1, value);
                *self = Self::One(one);
                Some(before)
            }
            Self::One(one) => {
                *self = Self::Many(Box::new(BTreeMap::from([*one, (key, value)])));
                None
            }
            Self::Many(mut many) => {
                let before = many.insert(key, value);
                *self = Self::Many(many);
                before
            }
        }
    }

    /// Takes an entry away.
    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        match std::mem::take(self) {
            Self::One(one) if one.0.borrow() == key => Some(one.1),
            Self::Many(mut many) => {
                let gone = many.remove(key);
                if !many.is_empty() {
                    *self = Self::Many(many);
                }
                gone
            }
            other => {
                *self = other;
                None
            }
        }
    }

    pub(crate) fn iter(&self) -> Iter<'_, K, V> {
        match self {
            Self::None => Iter { one: None, many: None },
            Self::One(one) => Iter { one: Some((&one.0, &one.1)), many: None },
            Self::Many(many) => Iter { one: None, many: Some(many.iter()) },
        }
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Few<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut few = Self::None;
        for (key, value) in entries {
            few.insert(key, value);
        }
        few
    }
}

/// The entries by their keys.
pub(crate) struct Iter<'f, K, V> {
    one: Option<(&'f K, &'f V)>,
    many: Option<btree_map::Iter<'f, K, V>>,
}

impl<'f, K, V> Iterator for Iter<'f, K, V> {
    type Item = (&'f K, &'f V);

    fn next(&mut self) -> Option<Self::Item> {
        self.one.take().or_else(|| self.many.as_mut()?.next())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// It does what the map does that it stands for.
        #[test]
        fn it_is_a_map(acts in prop::collection::vec((any::<bool>(), 0..4u8, any::<u8>()), 0..24)) {
            let (mut few, mut map) = (Few::default(), BTreeMap::new());
            for (adds, key, value) in acts {
                if adds {
                    prop_assert_eq!(few.insert(key, value), map.insert(key, value));
                } else {
                    prop_assert_eq!(few.remove(&key), map.remove(&key));
                }
                prop_assert_eq!((few.len(), few.is_empty()), (map.len(), map.is_empty()));
                prop_assert_eq!(few.contains_key(&key), map.contains_key(&key));
                prop_assert!(few.iter().eq(map.iter()));
                prop_assert!(few.keys().eq(map.keys()) && few.values().eq(map.values()));
            }
            prop_assert!(map.into_iter().collect::<Few<_, _>>().iter().eq(few.iter()));
        }
    }

    #[test]
    fn it_is_small() {
        assert_eq!(size_of::<Few<String, [u64; 20]>>(), 16);
    }
}
