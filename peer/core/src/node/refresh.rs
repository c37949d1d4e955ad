//! Links outlive certificates: before the certificate ends under which a link was made, one made
//! under its successor takes its place, without losing what is under way.
//!
//! **Invariant:** only whoever dialled a link dials its successor.

use shared::presence::SignedPresence;
use shared::time::{Now, Timestamp};

use super::Node;
use crate::limits::REFRESH_MS;
use crate::links::{Direction, Link, LinkId};

impl Node {
    /// Another certificate of our own holds from now on.
    pub(super) fn begin_era(&mut self, now: Now) {
        let network = &self.settings.network;
        let own = SignedPresence::verify(&self.presence_bytes, network, &self.verifier, now.wall);
        self.past_end = own.ok().map(|own| own.member.not_after);
        self.era = self.era.saturating_add(1);
    }

    /// Links that we dialled under a certificate, ours or theirs, that has a successor.
    pub(super) fn look_at_eras(&mut self, now: Now) {
        let is_ours = |link: &Link| {
            link.ready
                && link.retiring.is_none()
                && link.direction == Direction::Out
                && (link.wanted || link.theirs_wanted)
                && !link.is_visitor()
        };
        let ours = self.links.iter().filter(|(_, link)| is_ours(link));
        let old: Vec<(LinkId, Timestamp)> =
            ours.filter_map(|(id, link)| Some((id, self.outlived_at(link, now)?))).collect();
        for (link, end) in old {
            let left_ms = u64::try_from(end.ms_since(now.wall)).unwrap_or_default();
            let wait_ms = self.jitter.below((left_ms / 4).min(REFRESH_MS) + 1);
            let Some(entry) = self.links.get_mut(link) else { continue };
            let at = *entry.refresh_at.get_or_insert(now.tick.plus_ms(wait_ms));
            if now.tick >= at {
                let node = entry.member.node().clone();
                self.dialling.renew(&node, now.tick);
            }
        }
    }

    /// When a link ends although both its nodes have certificates that last longer.
    fn outlived_at(&self, link: &Link, now: Now) -> Option<Timestamp> {
        let ours = (link.era < self.era).then(|| self.past_end.unwrap_or(now.wall));
        let known = self.directory.signed(link.member.node());
        let newer = known.is_some_and(|known| known.member.not_after > link.member.not_after);
        let theirs = newer.then_some(link.member.not_after);
        ours.into_iter().chain(theirs).min()
    }
}
