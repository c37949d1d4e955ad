//! The link table: who is linked, by which link, since when, and which of two links stays.
//!
//! **Invariant:** at most one link per member is ready and does not retire; visits of the authority
//! are counted apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::feed::{Mark, RevocationSet};
use shared::name::NodeName;
use shared::presence::Presence;
use shared::time::{Tick, Timestamp};
use shared::verify::{Member, Verified};

use crate::limits::{
    AUTHORITY_LINKS_MAX, LINKS_MAX, PING_IDLE_MS, RETIRE_MS, RETIRE_QUIET_MS, SILENCE_MS,
};
use crate::punch::Punch;

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

/// How a link that is not direct goes.
#[derive(Debug, Clone)]
pub struct Via {
    /// The relay, proved by the handshake with it.
    pub relay: Verified<Member>,
}

/// One link.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) member: Verified<Member>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) direction: Direction,
    pub(crate) address: String,
    pub(crate) since: Timestamp,
    pub(crate) ready: bool,
    /// Whether its presence was news to us, so that others may want it.
    pub(crate) news: bool,
    pub(crate) opened: Tick,
    /// Whether we want it kept although nothing is said on it, and whether they do.
    pub(crate) wanted: bool,
    pub(crate) theirs_wanted: bool,
    pub(crate) heard: Tick,
    pub(crate) pinged: Tick,
    pub(crate) doubted_until: Option<Tick>,
    pub(crate) feed_number: u64,
    /// The relay it goes through; `None`: it is direct.
    pub(crate) via: Option<Box<Via>>,
    /// Since when a direct link has taken its place: heard, but not spoken on any more.
    pub(crate) retiring: Option<Tick>,
    pub(crate) punch: Punch,
    /// How often our own certificate had been renewed when this link was made.
    pub(crate) era: u32,
    /// The link whose place this one takes when it is ready: one made under an earlier certificate.
    pub(crate) succeeds: Option<LinkId>,
    /// When a link is to be made that takes this one's place.
    pub(crate) refresh_at: Option<Tick>,
}

impl Link {
    /// Whether the authority only came to bring news.
    pub(crate) fn is_visitor(&self) -> bool {
        is_visitor(&self.member, &self.presence)
    }

    /// Whether the set bars its node, or the relay that carries it.
    pub(crate) fn judge(&self, set: &RevocationSet) -> Option<Mark> {
        let relay = self.via.as_ref().map(|via| &via.relay.ids);
        set.judge(&self.member.ids).or_else(|| relay.and_then(|ids| set.judge(ids)))
    }
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
    /// Through which relay, if it is not direct.
    pub via: Option<NodeName>,
}

/// What to do with a newcomer whose node is linked already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rival {
    /// No link yet.
    None,
    /// The newcomer takes the old one's place.
    Replace(LinkId),
    /// The newcomer is direct and the old one is not: that one stays until this one is ready.
    Overtake,
    /// The newcomer was made under a newer certificate: the old one stays until it is ready.
    Succeed(LinkId),
    /// The old one stays; ask whether it is alive.
    Keep(LinkId),
    /// Two instances of one certificate.
    Contradiction,
}

#[derive(Debug, Default)]
pub(crate) struct Links {
    table: BTreeMap<LinkId, Link>,
}

/// The role of a certificate whose node carries others' circuits.
pub(crate) const RELAY_ROLE: &str = "relay";

pub(crate) fn is_authority(member: &Member) -> bool {
    member.node().as_str() == NodeName::AUTHORITY
        && member.cert.attributes.has_role(NodeName::AUTHORITY)
}

/// A run of the authority that brings news and leaves: it fills no role, and nobody counts on it.
/// One that stays fills its role and is a node like any other.
pub(crate) fn is_visitor(member: &Member, presence: &Presence) -> bool {
    let stays = presence.roles.iter().any(|role| role.as_str() == NodeName::AUTHORITY);
    is_authority(member) && !stays
}

impl Links {
    /// Which of two links between the same two nodes stays. Both sides come to the same answer:
    /// a direct one before a relayed one; then the one that the smaller name dialled; of two in one
    /// direction, the newer.
    pub(crate) fn rival(
        &self,
        own: &NodeName,
        newcomer: &Presence,
        direction: Direction,
        relayed: bool,
        is_newer: impl Fn(&Link) -> bool,
    ) -> Rival {
        let Some((id, old)) = self.member_link(&newcomer.node) else { return Rival::None };
        if newcomer.instance != old.presence.instance {
            let restart = newcomer.boot > old.presence.boot;
            return if restart { Rival::Replace(id) } else { Rival::Contradiction };
        }
        // Only whoever made the old one makes its successor, so both agree which is the last.
        if old.direction == direction && old.ready && is_newer(old) {
            return Rival::Succeed(id);
        }
        if old.via.is_some() != relayed {
            return if relayed { Rival::Keep(id) } else { Rival::Overtake };
        }
        let we_dial = *own < newcomer.node;
        let wins = old.direction == direction || (direction == Direction::Out) == we_dial;
        if wins { Rival::Replace(id) } else { Rival::Keep(id) }
    }

    pub(crate) fn has_room(&self, visitor: bool) -> bool {
        let bound = if visitor { AUTHORITY_LINKS_MAX } else { LINKS_MAX };
        self.table.values().filter(|link| link.is_visitor() == visitor).count() < bound
    }

    /// How many members are linked.
    pub(crate) fn members(&self) -> usize {
        self.table.values().filter(|link| !link.is_visitor()).count()
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
        self.iter().find(|(_, link)| {
            link.member.node() == node && !link.is_visitor() && link.retiring.is_none()
        })
    }

    /// A member's link that no relay carries: one that is ready if there is one, else one that will
    /// be.
    pub(crate) fn direct(&self, node: &NodeName) -> Option<(LinkId, &Link)> {
        let fit = |link: &Link| {
            let stays = link.retiring.is_none() && !link.is_visitor();
            link.member.node() == node && link.via.is_none() && stays
        };
        self.iter().filter(|(_, link)| fit(link)).max_by_key(|(_, link)| link.ready)
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
            let asked = link.ready && link.retiring.is_none();
            if asked && idle && now.ms_since(link.pinged) >= PING_IDLE_MS {
                link.pinged = now;
                due.push(*id);
            }
        }
        due
    }

    /// A newer link takes this one's place.
    pub(crate) fn retire(&mut self, id: LinkId, now: Tick) {
        if let Some(link) = self.table.get_mut(&id) {
            link.retiring.get_or_insert(now);
        }
    }

    /// A direct link to a node is ready: nothing is said on its relayed one any more, but what is
    /// on its way there still arrives.
    pub(crate) fn retire_relayed(&mut self, node: &NodeName, now: Tick) {
        let of = |link: &&mut Link| link.member.node() == node && link.via.is_some();
        for link in self.table.values_mut().filter(of) {
            link.retiring.get_or_insert(now);
        }
    }

    /// Retiring links on which nothing came for long enough, and those that had their time.
    pub(crate) fn retired(&self, now: Tick, waits: impl Fn(LinkId) -> bool) -> Vec<LinkId> {
        let over = |id: LinkId, link: &Link| {
            let Some(since) = link.retiring else { return false };
            let quiet = now.ms_since(link.heard.max(since)) >= RETIRE_QUIET_MS;
            (quiet && !waits(id)) || now.ms_since(since) >= RETIRE_MS
        };
        self.iter().filter(|(id, link)| over(*id, link)).map(|(id, _)| id).collect()
    }

    /// Ready links with a relay that we could be reached through: direct ones.
    pub(crate) fn relays(&self) -> impl Iterator<Item = &Link> {
        let fit = |link: &&Link| {
            link.ready && link.via.is_none() && link.member.cert.attributes.has_role(RELAY_ROLE)
        };
        self.table.values().filter(fit)
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
            via: link.via.as_ref().map(|via| via.relay.node().clone()),
        };
        let shown = |link: &Link| link.ready && link.retiring.is_none();
        self.iter().filter(|(_, link)| shown(link)).map(view).collect()
    }
}
