//! The desk's answers about nodes.

use host::fault::Fault;
use peer_core::{NodeView, RequestId, Standing};
use shared::join::KnownPeer;
use shared::limits::ADDRESSES_MAX;
use shared::name::NodeName;
use shared::time::{Now, Timestamp};
use shared::wire::Hop;
use tokio::sync::oneshot;

use super::control::{Desk, describe_outcome};
use super::driver::Driver;
use super::fabric::Fabric;
use super::news::News;
use super::start::Daemon;
use super::view::{Answer, Ask, Traffic};
use crate::control::nodes::{Certificate, NodeLink, NodeStatus, Path, Said, Step, Way};
use crate::control::protocol::{Direction, Outcome};
use crate::control::{Replier, Reply};

impl<F: Fabric> Driver<F> {
    pub(super) fn traced(&mut self, request: RequestId, path: Vec<Hop>) {
        if let Some(waiting) = self.asked.remove(&request) {
            let after = waiting.since.elapsed();
            let _ = waiting.reply.send(Answer::Way { path, after });
        }
    }

    /// Everybody, with what went over the link.
    pub(super) fn nodes(&self, now: Now) -> Vec<(NodeView, Traffic)> {
        let traffic = |view: &NodeView| {
            let link = view.link.as_ref().and_then(|link| self.traffic.get(&link.id));
            link.copied().unwrap_or_default()
        };
        let with = |view: NodeView| {
            let traffic = traffic(&view);
            (view, traffic)
        };
        self.node.nodes(now).into_iter().map(with).collect()
    }
}

impl Daemon {
    /// Nodes that others can dial, with their addresses; those that are linked with us first.
    pub async fn acquaintances(&self) -> Vec<KnownPeer> {
        let (reply, answer) = oneshot::channel();
        let _ = self.news.send(News::Asked { ask: Ask::Nodes, reply }).await;
        let Ok(Answer::Nodes(mut nodes, _)) = answer.await else { return Vec::new() };
        nodes.retain(|(view, _)| !view.own && !view.addresses.is_empty());
        nodes.sort_by_key(|(view, _)| view.link.is_none());
        let known = |(view, _): (NodeView, Traffic)| {
            let mut addresses = view.addresses;
            addresses.truncate(ADDRESSES_MAX);
            KnownPeer { node: view.node, addresses }
        };
        nodes.into_iter().map(known).collect()
    }
}

impl Desk {
    pub(super) async fn trace(&self, to: NodeName) -> Result<Way, Fault> {
        let micros = |after: std::time::Duration| u64::try_from(after.as_micros());
        match self.ask(Ask::Trace { to }).await? {
            Answer::Way { path, after } => {
                let step = |hop: Hop| Step { node: hop.node, via: hop.via, ms: hop.ms };
                let steps = path.into_iter().map(step).collect();
                Ok(Way { steps, us: micros(after).unwrap_or(u64::MAX), why: None })
            }
            Answer::Outcome { outcome, after } => {
                let why = match describe_outcome(outcome) {
                    Outcome::Unreachable { why } => why,
                    Outcome::Refused { code } => code.to_string(),
                    Outcome::Delivered => "it is there and says nothing".to_owned(),
                };
                let us = micros(after).unwrap_or(u64::MAX);
                Ok(Way { steps: Vec::new(), us, why: Some(why) })
            }
            _ => Err(Fault::failed("the driver answered something else")),
        }
    }

    /// One reply a node: a thousand of them do not fit one line.
    pub(super) async fn nodes(&self, replies: &mut Replier) -> Result<(), Fault> {
        let Answer::Nodes(nodes, now) = self.ask(Ask::Nodes).await? else {
            return Err(Fault::failed("the driver answered something else"));
        };
        for (view, traffic) in nodes {
            replies.send(&Reply::Node(Box::new(describe(view, &traffic, now)))).await?;
        }
        Ok(())
    }
}

fn describe(view: NodeView, traffic: &Traffic, now: Now) -> NodeStatus {
    let path = path_of(&view);
    let said = view.said.as_ref();
    let ago = |tick: shared::time::Tick| i64::try_from(now.tick.ms_since(tick)).unwrap_or(0);
    let link = view.link.as_ref();
    NodeStatus {
        path,
        last_seen: view.heard.map(|heard| Timestamp::from_ms(now.wall.ms() - ago(heard))),
        link: link.map(|link| NodeLink {
            address: link.address.clone(),
            direction: match link.direction {
                peer_core::Direction::Out => Direction::Out,
                peer_core::Direction::In => Direction::In,
            },
            since: link.since,
            rtt_us: traffic.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
        }),
        said: said.map(|signed| Said {
            instance: signed.presence.instance.to_string(),
            boot: signed.presence.boot,
            at: signed.presence.at,
            roles: signed.presence.roles.iter().map(ToString::to_string).collect(),
            feed_number: signed.presence.feed_number,
            policy_number: signed.presence.policy_number,
            relays: signed.presence.relays.clone(),
        }),
        certificate: said.map(|signed| Certificate {
            serial: signed.member.cert.serial.to_string(),
            key: signed.member.cert.spki.to_string(),
            groups: signed.member.cert.attributes.groups.iter().map(ToString::to_string).collect(),
            not_before: signed.member.cert.not_before,
            not_after: signed.member.cert.not_after,
        }),
        node: view.node,
        introduced_by: view.introducer,
        addresses: view.addresses,
    }
}

fn path_of(view: &NodeView) -> Path {
    match (view.own, &view.link, view.standing) {
        (true, ..) => Path::Own,
        (_, Some(link), _) => match &link.via {
            Some(via) => Path::Relay { via: via.clone() },
            None => Path::Direct,
        },
        (_, None, Some(Standing::Refused)) => Path::Refused,
        (_, None, Some(Standing::Unreachable)) => Path::Unreachable,
        (_, None, _) => Path::Known,
    }
}
