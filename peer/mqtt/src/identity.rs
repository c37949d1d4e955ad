//! Who is connected, and what the policy lets him do.

use std::sync::Arc;

use shared::cert::Attributes;
use shared::name::NodeName;
use shared::policy::{Filter, Policing, Policy, Rates, Request, Standing, Who};

/// Somebody by certificate, or by being on this very machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate's name.
    pub name: Arc<NodeName>,
    /// Its groups and roles.
    pub attributes: Attributes,
}

impl Identity {
    /// As the policy sees him.
    #[must_use]
    pub fn who(&self) -> Who<'_> {
        Who { node: &self.name, attributes: &self.attributes }
    }
}

/// The policy that holds, as this peer applies it to those who publish and subscribe here.
#[derive(Debug)]
pub struct Rights {
    policing: Policing,
    own: Standing,
}

impl Rights {
    /// Compiles a policy for a peer.
    #[must_use]
    pub fn new(policy: &Policy, own: Who<'_>) -> Self {
        let policing = Policing::new(policy);
        let own = policing.standing(own);
        Self { policing, own }
    }

    /// Which rules mean somebody; to be asked again under other rights.
    #[must_use]
    pub fn standing(&self, who: Who<'_>) -> Standing {
        self.policing.standing(who)
    }

    /// Whether he may publish here on a topic.
    #[must_use]
    pub fn may_publish(&self, from: &Standing, client: &str, topic: &str) -> bool {
        let request = Request::Publish { topic, client: Some(client) };
        self.policing.decide(from, &self.own, request).allowed
    }

    /// How much he may publish here.
    #[must_use]
    pub fn rates(&self, who: Who<'_>) -> Rates {
        self.policing.rates(who)
    }

    /// Whether he may hear here all that a filter matches.
    #[must_use]
    pub fn may_subscribe(&self, from: &Standing, client: &str, filter: &Filter) -> bool {
        let request = Request::Subscribe { filter, client: Some(client) };
        self.policing.decide(from, &self.own, request).allowed
    }
}
