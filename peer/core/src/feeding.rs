//! The feed among peers: what arrives piece by piece, and the way back of acknowledgements.
//!
//! News floods every link; the link it came on first is the way its acknowledgements go back, so
//! that the authority, at the root of that tree, hears from everybody.

use std::collections::BTreeMap;

use shared::feed::{Part, Staging, Update};
use shared::name::NodeName;

use crate::limits::ACK_ROUTES_MAX;
use crate::links::LinkId;

#[derive(Debug)]
struct Route {
    link: LinkId,
    seen: Vec<NodeName>,
}

#[derive(Debug, Default)]
pub(crate) struct Feeding {
    staging: BTreeMap<LinkId, Staging>,
    routes: BTreeMap<u64, Route>,
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
        self.routes.retain(|_, route| route.link != link);
    }

    /// News of this number came on this link: acknowledgements go back there.
    pub(crate) fn came_from(&mut self, number: u64, link: LinkId) {
        self.routes.insert(number, Route { link, seen: Vec::new() });
        while self.routes.len() > ACK_ROUTES_MAX {
            self.routes.pop_first();
        }
    }

    /// Where an acknowledgement goes; `None` if it came back from there, was carried already, or
    /// nobody waits for it.
    pub(crate) fn way_back(
        &mut self,
        number: u64,
        node: &NodeName,
        from: LinkId,
    ) -> Option<LinkId> {
        let route = self.routes.get_mut(&number)?;
        let bounded = route.seen.len() < crate::limits::DIRECTORY_MAX;
        if route.link == from || route.seen.contains(node) || !bounded {
            return None;
        }
        route.seen.push(node.clone());
        Some(route.link)
    }
}
