//! Bringing feed and policy to the network: one peer is told, the rest hear it from each other, and
//! their acknowledgements come back the same way.
//!
//! The act is done when the store has it; publishing only makes it quick. So a peer that cannot be
//! reached is reported and nothing more.
//!
//! **Invariant:** what is sent is the committed feed and policy; a peer that knows a later feed
//! than our store is told nothing.

mod link;
mod listening;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shared::feed::Update;
use shared::id::InstanceId;
use shared::name::NodeName;
use shared::policy::SignedPolicy;
use shared::presence::{Presence, SignedPresence};
use shared::refusal::{Code, Refusal};
use shared::verify::Verifier;
use shared::wire::{Body, Greeting, VERSION};
use tls::Dialler;

pub use link::LinkError;

use crate::authority::Authority;
use crate::error::CaError;
use link::Link;
pub(crate) use listening::{Listening, Numbers};

/// How long a peer may take to accept the connection, and again for the handshake.
const CONNECT: Duration = Duration::from_secs(3);
/// How long acknowledgements are waited for.
pub(crate) const ACKS: Duration = Duration::from_secs(5);

/// Whose acknowledgements are waited for. Whatever a peer lacks, it is sent both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum News {
    /// The feed's: somebody was turned out.
    #[default]
    Feed,
    /// The policy's.
    Policy,
    /// Both.
    Both,
}

/// What to publish.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Publish {
    /// Peers to try; those the authority remembers if there are none.
    pub via: Vec<String>,
    /// The node the news is about: it is not expected to acknowledge.
    pub about: Option<NodeName>,
    /// What is new.
    pub news: News,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// The feed's number.
    pub number: u64,
    /// The policy's; 0 is the built-in one.
    pub policy: u64,
    /// The peer that took it.
    pub via: Option<String>,
    /// Who was expected to hear of it.
    pub peers: Vec<PeerReport>,
    /// Members that are linked to nobody the peer knows.
    pub offline: Vec<NodeName>,
    /// Peers that could not be told, and why.
    pub failures: Vec<Failure>,
}

/// One peer's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerReport {
    /// Which.
    pub node: NodeName,
    /// Milliseconds from the first byte sent to its acknowledgement; nothing if none came.
    pub ms: Option<u64>,
    /// How many links it closed.
    pub cut: u32,
    /// Whether it has the policy, as it said itself.
    pub has_policy: bool,
    /// Milliseconds to its acknowledgement of the policy, if one came.
    pub policy_ms: Option<u64>,
    /// How many links it closed for the policy.
    pub policy_cut: u32,
}

/// A peer that could not be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Where.
    pub via: String,
    /// Why.
    pub why: String,
    /// The refusal code, if it was a refusal.
    #[serde(with = "code_text")]
    pub code: Option<Code>,
}

/// A code as its text.
mod code_text {
    use super::{Code, Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        code: &Option<Code>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        code.map(Code::as_str).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Code>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.and_then(|text| Code::parse(&text)))
    }
}

impl Report {
    /// How many acknowledged, and how long the slowest took.
    #[must_use]
    pub fn acknowledged(&self) -> (usize, Option<u64>) {
        let times: Vec<u64> = self.peers.iter().filter_map(|peer| peer.ms).collect();
        (times.len(), times.iter().max().copied())
    }

    /// How many have the policy, and how long the slowest took.
    #[must_use]
    pub fn with_policy(&self) -> (usize, Option<u64>) {
        let have = self.peers.iter().filter(|peer| peer.has_policy);
        (have.count(), self.peers.iter().filter_map(|peer| peer.policy_ms).max())
    }
}

/// Brings feed and policy as they stand to the first peer that takes them, and waits for
/// acknowledgements.
///
/// # Errors
/// [`CaError::RolledBack`] if a peer knows a later feed than our store. Peers that cannot be
/// reached are no error but in the report.
pub fn publish(authority: &Authority, what: &Publish) -> Result<Report, CaError> {
    let position = authority.feed_position()?;
    let held = authority.policy()?;
    let policy = held.as_ref().map_or(0, |signed| signed.policy.number);
    let mut report = Report { number: position.number, policy, ..Report::default() };
    let remembered = authority.settings()?.via;
    let via = if what.via.is_empty() { &remembered } else { &what.via };
    if via.is_empty() {
        report.offline = absent(authority, what, &report)?;
        return Ok(report);
    }
    let desk = Desk::open(authority, held)?;
    for address in via {
        match desk.tell(address, what, &mut report) {
            Ok(()) => {
                authority.remember_via(address)?;
                report.via = Some(address.clone());
                break;
            }
            Err(Trouble::Link(error)) => {
                let (why, code) = (error.to_string(), error.code());
                report.failures.push(Failure { via: address.clone(), why, code });
            }
            Err(Trouble::Ahead { theirs }) => {
                let (ours, via) = (position.number, address.clone());
                return Err(CaError::RolledBack { ours, theirs, via });
            }
            Err(Trouble::Ours(error)) => return Err(error),
        }
    }
    report.offline = absent(authority, what, &report)?;
    Ok(report)
}

/// Members whose certificates live and who were not seen.
pub(crate) fn absent(
    authority: &Authority,
    what: &Publish,
    report: &Report,
) -> Result<Vec<NodeName>, CaError> {
    let seen = |node: &NodeName| report.peers.iter().any(|peer| peer.node == *node);
    let members = authority.nodes()?.into_iter().filter(|node| node.standing == "active");
    let names = members.map(|member| member.node);
    Ok(names.filter(|n| !seen(n) && what.about.as_ref() != Some(n) && !is_ours(n)).collect())
}

fn is_ours(node: &NodeName) -> bool {
    node.as_str() == NodeName::AUTHORITY
}

enum Trouble {
    Link(LinkError),
    Ahead { theirs: u64 },
    Ours(CaError),
}

impl From<LinkError> for Trouble {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// What all attempts of one publication share.
struct Desk<'a> {
    authority: &'a Authority,
    verifier: Arc<Verifier>,
    dialler: Dialler,
    presence: Vec<u8>,
    policy: Option<SignedPolicy>,
}

/// What a peer says it has.
struct Theirs {
    feed: u64,
    policy: u64,
}

impl<'a> Desk<'a> {
    fn open(authority: &'a Authority, policy: Option<SignedPolicy>) -> Result<Self, CaError> {
        let identity = authority.identity()?;
        let position = authority.feed_position()?;
        let presence = Presence {
            node: NodeName::authority(),
            instance: InstanceId::new(host::random::bytes()?),
            boot: identity.boot,
            sequence: 1,
            at: authority.now(),
            addresses: Vec::new(),
            // It fills no role: it only brings news.
            roles: Vec::new(),
            feed_number: position.number,
            policy_number: policy.as_ref().map_or(0, |signed| signed.policy.number),
            relays: Vec::new(),
        };
        let chain: Vec<&[u8]> = identity.chain.iter().map(Vec::as_slice).collect();
        let presence = presence.sign(authority.network(), &identity.key, &chain)?;
        let verifier = Arc::new(authority.verifier()?);
        let identity = tls::Identity { chain: identity.chain, key: identity.key };
        let dialler = Dialler::new(&identity, Arc::clone(&verifier), authority.clock())
            .map_err(|error| CaError::Tls(error.to_string()))?;
        Ok(Self { authority, verifier, dialler, presence, policy })
    }

    /// Tells one peer, and fills the report with who acknowledged.
    fn tell(&self, address: &str, what: &Publish, report: &mut Report) -> Result<(), Trouble> {
        let mut link = Link::dial(address, &self.dialler, CONNECT)?;
        let theirs = self.greet(&mut link)?;
        if theirs.feed > report.number {
            link.close();
            return Err(Trouble::Ahead { theirs: theirs.feed });
        }
        if theirs.policy > report.policy {
            // Not worth holding up a revocation for: said, and the policy is not sent.
            let (theirs, ours) = (theirs.policy, report.policy);
            let why = format!("it has policy {theirs}, our store only {ours}: it is an old copy");
            report.failures.push(Failure { via: address.to_owned(), why, code: None });
        }
        let update = self.authority.feed_update(theirs.feed).map_err(Trouble::Ours)?;
        let mut bytes = frames(update)?;
        let policy = self.policy.as_ref().filter(|held| held.policy.number > theirs.policy);
        if let Some(held) = policy {
            bytes.extend(Body::Policy(held.bytes.clone()).to_frame());
        }
        let start = Instant::now();
        let deadline = start + ACKS;
        link.send(&bytes, deadline)?;
        let (feed, policy_sent) = (report.number, policy.is_some());
        let numbers = Numbers { feed, policy: report.policy, policy_sent };
        let mut listening = Listening::new(numbers, what.news, start);
        listening.expect(link.member.node().clone(), theirs.policy, what);
        let heard = self.listen(&mut link, &mut listening, what, deadline);
        let was_heard = listening.was_heard();
        report.peers = listening.into_peers();
        // The peer took the news if anybody acknowledged it; only then is a later end no news.
        heard.or_else(|error| if was_heard { Ok(()) } else { Err(error) })?;
        let _ = link.send(&Body::Bye.to_frame(), Instant::now() + Duration::from_millis(200));
        link.close();
        Ok(())
    }

    /// HELLO and WELCOME; gives the numbers of the peer's feed and policy.
    fn greet(&self, link: &mut Link) -> Result<Theirs, Trouble> {
        let deadline = Instant::now() + CONNECT;
        let position = self.authority.feed_position().map_err(Trouble::Ours)?;
        let hello = Body::Hello(Greeting {
            version_min: VERSION,
            version_max: VERSION,
            presence: self.presence.clone(),
            feed_number: position.number,
            feed_at: position.at,
        });
        link.send(&hello.to_frame(), deadline)?;
        let welcome = match link.receive(deadline)? {
            Body::Welcome(greeting) => greeting,
            _ => return Err(LinkError::Nonsense("no welcome".to_owned()).into()),
        };
        if welcome.common_version(VERSION, VERSION).is_none() {
            let detail = format!("it speaks {} to {}", welcome.version_min, welcome.version_max);
            return Err(LinkError::ByUs(Refusal::new(Code::Version, detail)).into());
        }
        let theirs = self.verify(&welcome.presence).map_err(LinkError::ByUs)?;
        if theirs.node != *link.member.node() {
            let detail = format!("{} welcomes as {}", link.member.node(), theirs.node);
            return Err(LinkError::ByUs(Refusal::new(Code::WrongName, detail)).into());
        }
        Ok(Theirs { feed: welcome.feed_number, policy: theirs.policy_number })
    }

    fn verify(&self, presence: &[u8]) -> Result<Arc<Presence>, Refusal> {
        let network = self.authority.network();
        let signed =
            SignedPresence::verify(presence, network, &self.verifier, self.authority.now())?;
        Ok(signed.presence)
    }

    fn listen(
        &self,
        link: &mut Link,
        listening: &mut Listening,
        what: &Publish,
        deadline: Instant,
    ) -> Result<(), LinkError> {
        while !listening.is_complete() {
            match link.receive(deadline)? {
                Body::FeedAck(ack) => listening.take_feed(&ack),
                Body::PolicyAck(ack) => listening.take_policy(&ack),
                Body::Presences(list, last) => {
                    for presence in &list {
                        // Whoever is out, or not of ours, is not waited for.
                        if let Ok(theirs) = self.verify(presence) {
                            listening.expect(theirs.node.clone(), theirs.policy_number, what);
                        }
                    }
                    listening.all_known |= last;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn frames(update: Update) -> Result<Vec<u8>, LinkError> {
    let mut bytes = Vec::new();
    for part in update.into_parts() {
        let written = Body::Feed(part).write_into(&mut bytes);
        written.map_err(|error| LinkError::Nonsense(error.to_string()))?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
