//! The words of a policy: what may be asked, who is meant, what a rule says.

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};

use super::filter::Filter;
use crate::name::{Label, NodeName};

/// What is asked, without its details: the kinds of grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// To have a link with a node that one dials.
    Connect,
    /// To send a node messages.
    Send,
    /// To publish on a topic.
    Publish,
    /// To subscribe to topics.
    Subscribe,
    /// To offer files.
    Share,
    /// To fetch files.
    Get,
    /// To reach a TCP port through a node.
    Forward,
    /// To vouch for outside time.
    TimeRoot,
}

impl Ask {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Connect,
        Self::Send,
        Self::Publish,
        Self::Subscribe,
        Self::Share,
        Self::Get,
        Self::Forward,
        Self::TimeRoot,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Send => "send",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Share => "share",
            Self::Get => "get",
            Self::Forward => "forward",
            Self::TimeRoot => "time-root",
        }
    }
}

/// TCP ports, from one to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Ports {
    /// The first.
    #[n(0)]
    pub first: u16,
    /// The last.
    #[n(1)]
    pub last: u16,
}

impl Ports {
    /// Whether a port is among them.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// One thing a rule allows or denies.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Grant {
    /// See [`Ask::Connect`].
    #[n(0)]
    Connect,
    /// See [`Ask::Send`].
    #[n(1)]
    Send,
    /// Topics that match one of these.
    #[n(2)]
    Publish(#[n(0)] Vec<Filter>),
    /// Filters that one of these covers.
    #[n(3)]
    Subscribe(#[n(0)] Vec<Filter>),
    /// See [`Ask::Share`].
    #[n(4)]
    Share,
    /// See [`Ask::Get`].
    #[n(5)]
    Get,
    /// These ports.
    #[n(6)]
    Forward(#[n(0)] Ports),
    /// See [`Ask::TimeRoot`].
    #[n(7)]
    TimeRoot,
}

impl Grant {
    /// What it is about.
    #[must_use]
    pub const fn ask(&self) -> Ask {
        match self {
            Self::Connect => Ask::Connect,
            Self::Send => Ask::Send,
            Self::Publish(_) => Ask::Publish,
            Self::Subscribe(_) => Ask::Subscribe,
            Self::Share => Ask::Share,
            Self::Get => Ask::Get,
            Self::Forward(_) => Ask::Forward,
            Self::TimeRoot => Ask::TimeRoot,
        }
    }
}

/// Who is meant: everybody, or whoever is named, is in a group or has a role.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(array)]
pub struct Selector {
    /// Everybody; the rest is empty then.
    #[n(0)]
    pub any: bool,
    /// These nodes.
    #[n(1)]
    pub nodes: Vec<NodeName>,
    /// Whoever is in one of these groups.
    #[n(2)]
    pub groups: Vec<Label>,
    /// Whoever has one of these roles.
    #[n(3)]
    pub roles: Vec<Label>,
}

impl Selector {
    /// Everybody.
    #[must_use]
    pub fn everybody() -> Self {
        Self { any: true, ..Self::default() }
    }

    /// Whether a node is meant.
    #[must_use]
    pub fn selects(
        &self,
        node: &NodeName,
        groups: &BTreeSet<Label>,
        roles: &BTreeSet<Label>,
    ) -> bool {
        self.any
            || self.nodes.contains(node)
            || self.groups.iter().any(|group| groups.contains(group))
            || self.roles.iter().any(|role| roles.contains(role))
    }

    /// Whether whoever `other` means is meant by this one, as far as the words show.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.any
            || (!other.any
                && other.nodes.iter().all(|node| self.nodes.contains(node))
                && other.groups.iter().all(|group| self.groups.contains(group))
                && other.roles.iter().all(|role| self.roles.contains(role)))
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len() + self.groups.len() + self.roles.len()
    }
}

/// What a rule does with what it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Effect {
    /// It may.
    #[n(0)]
    Allow,
    /// It may not.
    #[n(1)]
    Deny,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Rule {
    /// Its name: what `policy why` answers with.
    #[n(0)]
    pub name: Label,
    /// What it does.
    #[n(1)]
    pub effect: Effect,
    /// With what.
    #[n(2)]
    pub grants: Vec<Grant>,
    /// Who asks: who dials, sends, publishes, fetches.
    #[n(3)]
    pub from: Selector,
    /// Whom it is asked of: who is dialled, receives, holds the topic's session, gives.
    #[n(4)]
    pub to: Selector,
}

/// How much somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(array)]
pub struct Rates {
    /// Messages a second, to one node.
    #[n(0)]
    pub messages_per_second: Option<u32>,
    /// Octets of messages a second, to one node.
    #[n(1)]
    pub bytes_per_second: Option<u32>,
    /// Links begun a minute, with one node.
    #[n(2)]
    pub handshakes_per_minute: Option<u32>,
}

/// A bound on whoever is meant; of several, the first that means a node holds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Quota {
    /// Its name.
    #[n(0)]
    pub name: Label,
    /// Whom it bounds, each for itself.
    #[n(1)]
    pub from: Selector,
    /// By how much.
    #[n(2)]
    pub rates: Rates,
}
