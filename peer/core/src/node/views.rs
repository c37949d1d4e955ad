//! Everybody we know of, as it is shown to people.

use std::collections::BTreeMap;

use shared::id::InstanceId;
use shared::name::NodeName;
use shared::presence::SignedPresence;
use shared::time::{Now, Tick};

use super::Node;
use crate::dialling::Standing;
use crate::links::LinkView;

/// A node as it is shown.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// Its name.
    pub node: NodeName,
    /// Whether it is this node itself.
    pub own: bool,
    /// What it said of itself, with its certificate.
    pub said: Option<SignedPresence>,
    /// When it was last heard, by itself or through others.
    pub heard: Option<Tick>,
    /// Where it would be dialled, or says that it can be.
    pub addresses: Vec<String>,
    /// The link with it.
    pub link: Option<LinkView>,
    /// How the dialling stands.
    pub standing: Option<Standing>,
    /// The neighbour that told us of it first, unless it came itself.
    pub introducer: Option<NodeName>,
}

impl NodeView {
    const fn named(node: NodeName) -> Self {
        Self {
            node,
            own: false,
            said: None,
            heard: None,
            addresses: Vec::new(),
            link: None,
            standing: None,
            introducer: None,
        }
    }
}

impl Node {
    /// Which run of a node is alive, by its newest presence.
    #[must_use]
    pub fn instance_of(&self, node: &NodeName) -> Option<InstanceId> {
        Some(self.directory.signed(node)?.presence.instance)
    }

    /// This node first, then everybody in the directory or to be dialled, in order of their names.
    #[must_use]
    pub fn nodes(&self, now: Now) -> Vec<NodeView> {
        let mut views: BTreeMap<NodeName, NodeView> = self
            .directory
            .iter()
            .map(|(node, signed, heard)| {
                let mut view = NodeView::named(node.clone());
                view.addresses.clone_from(&signed.presence.addresses);
                (view.said, view.heard) = (Some(signed.clone()), Some(heard));
                view.introducer = self.introducers.of(node).cloned();
                (node.clone(), view)
            })
            .collect();
        for (node, prospect) in self.dialling.iter() {
            let view = views.entry(node.clone()).or_insert_with(|| NodeView::named(node.clone()));
            view.standing = Some(prospect.standing());
            if view.addresses.is_empty() {
                view.addresses.clone_from(&prospect.addresses);
            }
        }
        for link in self.links.views() {
            let heard = self.links.get(link.id).map(|entry| entry.heard);
            let name = link.node.clone();
            let Some(view) = views.get_mut(&name) else { continue };
            view.heard = view.heard.max(heard);
            // Of two, for the moment that one takes the other's place, the direct one.
            if view.link.is_none() || link.via.is_none() {
                view.link = Some(link);
            }
        }
        self.own_view(now).into_iter().chain(views.into_values()).collect()
    }

    fn own_view(&self, now: Now) -> Option<NodeView> {
        let network = &self.settings.network;
        let said = SignedPresence::verify(&self.presence_bytes, network, &self.verifier, now.wall);
        let mut view = NodeView::named(self.settings.node.clone());
        (view.own, view.said, view.heard) = (true, Some(said.ok()?), Some(now.tick));
        view.addresses.clone_from(&self.presence.addresses);
        Some(view)
    }
}
