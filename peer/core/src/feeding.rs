//! The feed among peers: what arrives piece by piece, and the way back of acknowledgements.
//!
//! News floods every link; the link it came on first is the way its acknowledgements go back, so
//! that the authority, at the root of that tree, hears from everybody. News that came by no link
//! was brought in here: we are that root.

use std::collections::BTreeMap;

use shared::feed::{Part, Staging, Update};
use shared::name::NodeName;

use crate::limits::ACK_ROUTES_MAX;
use crate::links::LinkId;

/// Where an acknowledgement goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Back {
    /// On.
    Link(LinkId),
    /// Nowhere: we brought the news in.
    Here,
}

#[derive(Debug)]
struct Route {
    /// Where the news came from; none: it was brought in here.
    link: Option<LinkId>,
    seen: Vec<NodeName>,
}

#[derive(Debug, Default)]
pub(crate) struct Feeding {
    staging: BTreeMap<LinkId, Staging>,
    routes: BTreeMap<u64, Route>,
    /// The newest number that cut links, and how many.
    cut: (u64, u32),
}

impl Feeding {
    /// Takes a part from a link; gives the update when it is complete, `Err` if it makes no sense.
    pub(crate) fn take(
        &mut self,
        link: LinkId,
        part: Part,
    ) -> Result<Option<Update>, shared::feed::Refused> {
        self.staging.entry(link).or_default().take(part)
    }

    pub(crate) fn ended(&mut self, link: LinkId) {
        self.staging.remove(&link);
        self.routes.retain(|_, route| route.link != Some(link));
    }

    /// News of this number came on this link, or was brought in here: acknowledgements go there.
    pub(crate) fn came_from(&mut self, number: u64, link: Option<LinkId>) {
        self.routes.insert(number, Route { link, seen: Vec::new() });
        while self.routes.len() > ACK_ROUTES_MAX {
            self.routes.pop_first();
        }
    }

    /// So many links were cut when this number was applied.
    pub(crate) fn note_cut(&mut self, number: u64, cut: u32) {
        if cut > 0 {
            self.cut = (number, cut);
        }
    }

    /// How many links were cut for this number. News floods, so it comes again by other ways; each
    /// is acknowledged with the same count, because any of these may reach the authority first.
    pub(crate) const fn cut_for(&self, number: u64) -> u32 {
        if self.cut.0 == number { self.cut.1 } else { 0 }
    }

    /// Where an acknowledgement goes; `None` if it came back from there, was carried already, or
    /// nobody waits for it.
    pub(crate) fn way_back(&mut self, number: u64, node: &NodeName, from: LinkId) -> Option<Back> {
        let route = self.routes.get_mut(&number)?;
        let bounded = route.seen.len() < crate::limits::DIRECTORY_MAX;
        if route.link == Some(from) || route.seen.contains(node) || !bounded {
            return None;
        }
        route.seen.push(node.clone());
        Some(route.link.map_or(Back::Here, Back::Link))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_brought_in_here_is_acknowledged_here_once_for_each_node() {
        let mut feeding = Feeding::default();
        let bob = NodeName::parse("bob").unwrap();
        assert_eq!(feeding.way_back(7, &bob, LinkId(1)), None, "nobody waits");
        feeding.came_from(7, None);
        feeding.ended(LinkId(1));
        assert_eq!(feeding.way_back(7, &bob, LinkId(1)), Some(Back::Here));
        assert_eq!(feeding.way_back(7, &bob, LinkId(2)), None, "known already");
        feeding.came_from(8, Some(LinkId(2)));
        assert_eq!(feeding.way_back(8, &bob, LinkId(1)), Some(Back::Link(LinkId(2))));
        feeding.ended(LinkId(2));
        assert_eq!(feeding.way_back(8, &bob, LinkId(1)), None, "the way is gone");
    }

    #[test]
    fn a_number_is_acknowledged_with_one_count_however_often_it_comes() {
        let mut feeding = Feeding::default();
        feeding.note_cut(7, 1);
        feeding.note_cut(7, 0);
        assert_eq!((feeding.cut_for(7), feeding.cut_for(7)), (1, 1));
        feeding.note_cut(8, 0);
        assert_eq!(feeding.cut_for(8), 0, "another number cut nobody");
    }
}
