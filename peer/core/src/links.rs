//! The link table: who is linked, by which link, since when, and which of two links stays.
//!
//! **Invariant:** at most one link per member; authority links are counted apart.

use std::collections::BTreeMap;

use shared::feed::ChainIds;
use shared::name::NodeName;
use shared::presence::Presence;
use shared::time::{Tick, Timestamp};
use shared::verify::{Member, Verified};

use crate::limits::{AUTHORITY_LINKS_MAX, LINKS_MAX, PING_IDLE_MS, SILENCE_MS};

/// A link; the driver makes the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Who dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// We did.
    Out,
    /// They did.
    In,
}

/// One link.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) member: Verified<Member>,
    pub(crate) presence: Presence,
    pub(crate) direction: Direction,
    pub(crate) address: String,
    pub(crate) since: Timestamp,
    pub(crate) ready: bool,
    /// Whether its presence was news to us, so that others may want it.
    pub(crate) news: bool,
    pub(crate) heard: Tick,
    pub(crate) pinged: Tick,
    pub(crate) doubted_until: Option<Tick>,
    pub(crate) feed_number: u64,
}

/// A link as it is shown.
#[derive(Debug, Clone)]
pub struct LinkView {
    /// Its number.
    pub id: LinkId,
    /// With whom.
    pub node: NodeName,
    /// Where.
    pub address: String,
    /// Who dialled.
    pub direction: Direction,
    /// Since when.
    pub since: Timestamp,
    /// When the other's certificate ends.
    pub cert_not_after: Timestamp,
    /// The feed's number on the other side, as far as it told us.
    pub feed_number: u64,
}

/// What to do with a newcomer whose node is linked already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rival {
    /// No link yet.
    None,
    /// The newcomer takes the old one's place.
    Replace(LinkId),
    /// The old one stays; ask whether it is alive.
    Keep(LinkId),
    /// Two instances of one certificate.
    Contradiction,
}

#[derive(Debug, Default)]
pub(crate) struct Links {
    table: BTreeMap<LinkId, Link>,
}

pub(crate) fn is_authority(member: &Member) -> bool {
    member.node().as_str() == NodeName::AUTHORITY && member.cert.attributes.has_role("authority")
}

impl Links {
    /// Which of two links between the same two nodes stays. Both sides come to the same answer:
    /// the one that the smaller name dialled; of two in one direction, the newer.
    pub(crate) fn rival(&self, own: &NodeName, newcomer: &Presence, direction: Direction) -> Rival {
        let Some((id, old)) = self.member_link(&newcomer.node) else { return Rival::None };
        if newcomer.instance != old.presence.instance {
            let restart = newcomer.boot > old.presence.boot;
            return if restart { Rival::Replace(id) } else { Rival::Contradiction };
        }
        let we_dial = *own < newcomer.node;
        let wins = old.direction == direction || (direction == Direction::Out) == we_dial;
        if wins { Rival::Replace(id) } else { Rival::Keep(id) }
    }

    pub(crate) fn has_room(&self, authority: bool) -> bool {
        let bound = if authority { AUTHORITY_LINKS_MAX } else { LINKS_MAX };
        self.table.values().filter(|link| is_authority(&link.member) == authority).count() < bound
    }

    pub(crate) fn insert(&mut self, id: LinkId, link: Link) {
        self.table.insert(id, link);
    }

    pub(crate) fn remove(&mut self, id: LinkId) -> Option<Link> {
        self.table.remove(&id)
    }

    pub(crate) fn get(&self, id: LinkId) -> Option<&Link> {
        self.table.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.table.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.table.iter().map(|(id, link)| (*id, link))
    }

    pub(crate) fn member_link(&self, node: &NodeName) -> Option<(LinkId, &Link)> {
        self.iter().find(|(_, link)| link.member.node() == node && !is_authority(&link.member))
    }

    pub(crate) fn heard(&mut self, id: LinkId, now: Tick) {
        if let Some(link) = self.table.get_mut(&id) {
            link.heard = now;
            link.doubted_until = None;
        }
    }

    /// Links that have been silent too long.
    pub(crate) fn dead(&self, now: Tick) -> Vec<LinkId> {
        let dead = |link: &Link| {
            now.ms_since(link.heard) >= SILENCE_MS
                || link.doubted_until.is_some_and(|until| now >= until)
        };
        self.iter().filter(|(_, link)| dead(link)).map(|(id, _)| id).collect()
    }

    /// Links to ask whether the other side is there; they count as asked from now on.
    pub(crate) fn ping_due(&mut self, now: Tick) -> Vec<LinkId> {
        let mut due = Vec::new();
        for (id, link) in &mut self.table {
            let idle = now.ms_since(link.heard) >= PING_IDLE_MS;
            if link.ready && idle && now.ms_since(link.pinged) >= PING_IDLE_MS {
                link.pinged = now;
                due.push(*id);
            }
        }
        due
    }

    /// The chains of all links, for a look into the set.
    pub(crate) fn chains(&self) -> impl Iterator<Item = (LinkId, &ChainIds)> {
        self.iter().map(|(id, link)| (id, &link.member.ids))
    }

    pub(crate) fn views(&self) -> Vec<LinkView> {
        let view = |(id, link): (LinkId, &Link)| LinkView {
            id,
            node: link.member.node().clone(),
            address: link.address.clone(),
            direction: link.direction,
            since: link.since,
            cert_not_after: link.member.not_after,
            feed_number: link.feed_number,
        };
        self.iter().filter(|(_, link)| link.ready).map(view).collect()
    }
}
