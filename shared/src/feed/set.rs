//! Who is out, as a look-up: by (issuer, serial), by key, and by name.
//!
//! Three keys because each alone has been got around: a signature's twin changes a certificate's
//! hash, a renewal changes the serial, a new certificate changes the key. The name bars every
//! certificate of the node that began before the revocation, also one nobody recorded; a node that
//! is enrolled again afterwards gets certificates that begin later.
//!
//! **Invariant:** a revocation is never weakened: not by a resume, not by an older entry.

use std::collections::HashMap;

use super::entry::{Act, CertRef, Entry, Reason};
use crate::id::{KeyId, Serial, SpkiHash};
use crate::name::NodeName;
use crate::time::Timestamp;

/// For good, or on hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Revoked.
    Revoked,
    /// Suspended.
    Suspended,
}

/// Why and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Revoked or suspended.
    pub status: Status,
    /// Since when.
    pub at: Timestamp,
    /// The feed entry that says so.
    pub number: u64,
    /// Why.
    pub reason: Reason,
    /// From when on it does not matter.
    pub expires: Timestamp,
}

/// What is looked up of a chain, computed once when the chain is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainIds {
    /// The node's own certificate.
    pub leaf: LeafIds,
    /// Issuer, serial and key of each certificate above it.
    pub issuers: Vec<(KeyId, Serial, SpkiHash)>,
}

/// What is looked up of a node's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafIds {
    /// Its issuer's key identifier.
    pub issuer: KeyId,
    /// Its serial.
    pub serial: Serial,
    /// Its key.
    pub spki: SpkiHash,
    /// Its node.
    pub node: NodeName,
    /// Its notBefore.
    pub not_before: Timestamp,
}

/// Everybody who is out.
#[derive(Debug, Clone, Default)]
pub struct RevocationSet {
    serials: HashMap<(KeyId, Serial), Mark>,
    keys: HashMap<SpkiHash, Mark>,
    names: HashMap<NodeName, Mark>,
    holds: HashMap<NodeName, (Mark, Vec<CertRef>)>,
}

impl RevocationSet {
    /// Applies one entry.
    pub fn apply(&mut self, entry: &Entry) {
        let status = match entry.act {
            Act::Revoke => Status::Revoked,
            Act::Suspend => Status::Suspended,
            Act::Resume => return self.resume(&entry.node),
        };
        let mark = Mark {
            status,
            at: entry.at,
            number: entry.number,
            reason: entry.reason,
            expires: entry.expires,
        };
        for cert in &entry.certs {
            insert(&mut self.serials, (cert.issuer, cert.serial), mark);
            insert(&mut self.keys, cert.spki, mark);
        }
        match status {
            Status::Revoked => {
                // The hold has become a revocation; left standing, it would bar the certificates
                // of a later enrolment of the name.
                self.holds.remove(&entry.node);
                insert(&mut self.names, entry.node.clone(), mark);
            }
            Status::Suspended => {
                self.holds.insert(entry.node.clone(), (mark, entry.certs.clone()));
            }
        }
    }

    fn resume(&mut self, node: &NodeName) {
        let Some((_, certs)) = self.holds.remove(node) else { return };
        let held = |mark: Option<&Mark>| mark.is_some_and(|m| m.status == Status::Suspended);
        for cert in certs {
            if held(self.serials.get(&(cert.issuer, cert.serial))) {
                self.serials.remove(&(cert.issuer, cert.serial));
            }
            if held(self.keys.get(&cert.spki)) {
                self.keys.remove(&cert.spki);
            }
        }
    }

    /// Whether anything in a chain is out, and why.
    #[must_use]
    pub fn judge(&self, chain: &ChainIds) -> Option<Mark> {
        let leaf = &chain.leaf;
        let above = chain.issuers.iter().find_map(|(issuer, serial, spki)| {
            self.serials.get(&(*issuer, *serial)).or_else(|| self.keys.get(spki)).copied()
        });
        above
            .or_else(|| self.serials.get(&(leaf.issuer, leaf.serial)).copied())
            .or_else(|| self.keys.get(&leaf.spki).copied())
            .or_else(|| self.name_mark(&leaf.node, leaf.not_before))
    }

    fn name_mark(&self, node: &NodeName, not_before: Timestamp) -> Option<Mark> {
        let revoked = self.names.get(node).filter(|mark| not_before.s() <= mark.at.s());
        revoked.copied().or_else(|| self.holds.get(node).map(|(mark, _)| *mark))
    }

    /// The newest revocation of a name, whichever certificates it bars.
    #[must_use]
    pub fn revocation_of(&self, node: &NodeName) -> Option<Mark> {
        self.names.get(node).copied()
    }

    /// The hold on a name.
    #[must_use]
    pub fn hold_of(&self, node: &NodeName) -> Option<Mark> {
        self.holds.get(node).map(|(mark, _)| *mark)
    }

    /// Whether a key is out, under whatever name.
    #[must_use]
    pub fn key_mark(&self, spki: &SpkiHash) -> Option<Mark> {
        self.keys.get(spki).copied()
    }

    /// How many serials are barred.
    #[must_use]
    pub fn len(&self) -> usize {
        self.serials.len()
    }

    /// Whether nobody is out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.serials.is_empty() && self.names.is_empty() && self.holds.is_empty()
    }

    /// Whether every revocation of `self` that has not expired also stands in `newer`.
    ///
    /// A snapshot that forgets one would be an unrevocation.
    #[must_use]
    pub fn is_kept_by(&self, newer: &Self, now: Timestamp) -> bool {
        let due = |mark: &Mark| mark.status == Status::Revoked && mark.expires > now;
        let revoked = |mark: Option<&Mark>| mark.is_some_and(|m| m.status == Status::Revoked);
        self.serials.iter().all(|(key, mark)| !due(mark) || revoked(newer.serials.get(key)))
            && self.keys.iter().all(|(key, mark)| !due(mark) || revoked(newer.keys.get(key)))
            && self.names.iter().all(|(key, mark)| !due(mark) || revoked(newer.names.get(key)))
    }
}

/// A newer mark replaces an older one, except that a hold never replaces a revocation.
fn insert<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Mark>, key: K, mark: Mark) {
    let kept = map.get(&key).is_some_and(|old| {
        old.number > mark.number
            || (old.status == Status::Revoked && mark.status == Status::Suspended)
    });
    if !kept {
        map.insert(key, mark);
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::entry;
    use super::*;

    fn ids(of: &Entry, not_before_s: i64) -> ChainIds {
        let cert = of.certs[0];
        ChainIds {
            leaf: LeafIds {
                issuer: cert.issuer,
                serial: cert.serial,
                spki: cert.spki,
                node: of.node.clone(),
                not_before: Timestamp::from_s(not_before_s),
            },
            issuers: vec![(
                KeyId::new([9; 20]),
                Serial::from_random([9; 16]),
                SpkiHash::new([9; 32]),
            )],
        }
    }

    fn stranger(node: &str, not_before_s: i64) -> ChainIds {
        let mut chain = ids(&entry(200, Act::Revoke, node), not_before_s);
        chain.leaf.issuer = KeyId::new([8; 20]);
        chain
    }

    #[test]
    fn serial_key_and_name_each_suffice() {
        let revoked = entry(1, Act::Revoke, "bob");
        let mut set = RevocationSet::default();
        set.apply(&revoked);
        let whole = ids(&revoked, 1);
        let by_serial = ChainIds {
            leaf: LeafIds {
                spki: SpkiHash::new([77; 32]),
                node: NodeName::parse("x").unwrap(),
                ..whole.leaf.clone()
            },
            ..whole.clone()
        };
        let by_key = ChainIds {
            leaf: LeafIds {
                serial: Serial::from_random([77; 16]),
                node: NodeName::parse("x").unwrap(),
                ..whole.leaf.clone()
            },
            ..whole.clone()
        };
        for chain in [whole, by_serial, by_key, stranger("bob", 1_000_001)] {
            assert_eq!(set.judge(&chain).unwrap().status, Status::Revoked);
        }
        assert!(set.judge(&stranger("alice", 1)).is_none());
        assert!(set.judge(&stranger("bob", 1_000_002)).is_none(), "enrolled again, later");
    }

    #[test]
    fn a_hold_does_not_outlive_the_revocation_that_follows_it() {
        let mut set = RevocationSet::default();
        set.apply(&entry(1, Act::Suspend, "bob"));
        assert!(set.judge(&stranger("bob", 2_000_000)).is_some());
        set.apply(&entry(2, Act::Revoke, "bob"));
        assert_eq!(set.judge(&stranger("bob", 1_000_002)).unwrap().status, Status::Revoked);
        assert!(set.judge(&stranger("bob", 1_000_003)).is_none(), "enrolled again, later");
    }

    #[test]
    fn a_revoked_issuer_revokes_what_it_issued() {
        let mut root_act = entry(1, Act::Revoke, "issuing");
        root_act.certs[0] = CertRef {
            issuer: KeyId::new([9; 20]),
            serial: Serial::from_random([9; 16]),
            spki: SpkiHash::new([1; 32]),
            not_after: Timestamp::MAX,
        };
        let mut set = RevocationSet::default();
        set.apply(&root_act);
        assert!(set.judge(&stranger("alice", 1)).is_some());
    }

    #[test]
    fn a_hold_is_lifted_a_revocation_is_not() {
        let mut set = RevocationSet::default();
        let hold = Entry { reason: Reason::CertificateHold, ..entry(1, Act::Suspend, "carol") };
        set.apply(&hold);
        assert_eq!(set.judge(&ids(&hold, 1)).unwrap().status, Status::Suspended);
        assert_eq!(set.judge(&stranger("carol", 9_000_000)).unwrap().status, Status::Suspended);
        set.apply(&entry(2, Act::Resume, "carol"));
        assert!(set.judge(&ids(&hold, 1)).is_none());
        set.apply(&hold);
        let revoked = Entry { certs: hold.certs.clone(), ..entry(3, Act::Revoke, "carol") };
        set.apply(&revoked);
        set.apply(&entry(4, Act::Resume, "carol"));
        assert_eq!(set.judge(&ids(&hold, 1)).unwrap().status, Status::Revoked);
        set.apply(&Entry { certs: hold.certs.clone(), ..entry(5, Act::Suspend, "carol") });
        assert_eq!(set.judge(&ids(&hold, 1)).unwrap().status, Status::Revoked);
    }
}
