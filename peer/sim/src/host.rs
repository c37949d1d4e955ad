//! One machine of the simulated network: a node, its papers, its clock, and what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use peer_core::{LinkId, Node, Outcome, Reach};
use shared::feed::CertRef;
use shared::name::NodeName;
use shared::presence::Presence;
use shared::refusal::Code;
use shared::verify::Verifier;

use crate::authority::{Enrolled, network};

/// The name of the machine with this number.
///
/// # Panics
/// Never: digits are a name.
#[must_use]
pub fn name(index: usize) -> NodeName {
    NodeName::parse(&format!("n{index:04}")).unwrap()
}

/// Where it can be dialled.
#[must_use]
pub(crate) fn address(index: usize) -> String {
    format!("{}:7400", name(index))
}

/// What a host sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames.
    pub frames: u64,
    /// Bytes on the wire, with the headers of TLS, TCP and IP; bare acknowledgements of TCP are
    /// not counted.
    pub bytes: u64,
    /// Frames about the feed.
    pub feed_frames: u64,
    /// Bytes of these frames, without headers.
    pub feed_bytes: u64,
}

/// One machine.
pub struct Host {
    /// Its node.
    pub node: Node,
    /// Its key, chain and reference.
    pub papers: Enrolled,
    /// Who it admits.
    pub verifier: Arc<Verifier>,
    /// What was delivered to it: from whom, what.
    pub delivered: Vec<(NodeName, Vec<u8>)>,
    /// What became of what it sent.
    pub outcomes: Vec<Outcome>,
    /// How far its broadcasts came.
    pub reached: Vec<Reach>,
    /// Whom it refused after the handshake, with the code it told them.
    pub refused: Vec<(NodeName, Code)>,
    /// With which codes others ended a link with it.
    pub refused_by: Vec<(NodeName, Code)>,
    /// Links that ended otherwise, by whatever.
    pub unlinked: u64,
    /// What it sent.
    pub sent: Tally,
    /// When it came to the number of the feed that it has.
    pub learnt_ms: u64,
    /// The number of the feed that it has.
    pub number: u64,
    /// How far its clock is ahead, in ms.
    pub skew_ms: i64,
    /// Hosts with different sides cannot reach each other.
    pub side: u8,
    /// Whether it runs.
    pub up: bool,
    /// How often it was started.
    pub(crate) run: u64,
    /// When it is woken next.
    pub(crate) wake_ms: u64,
    /// Frames of this moment, to be written at once.
    pub(crate) batch: BTreeMap<LinkId, Vec<u8>>,
}

impl Host {
    pub(crate) fn new(node: Node, papers: Enrolled, verifier: Arc<Verifier>) -> Self {
        Self {
            number: node.position().number,
            node,
            papers,
            verifier,
            delivered: Vec::new(),
            outcomes: Vec::new(),
            reached: Vec::new(),
            refused: Vec::new(),
            refused_by: Vec::new(),
            unlinked: 0,
            sent: Tally::default(),
            learnt_ms: 0,
            skew_ms: 0,
            side: 0,
            up: true,
            run: 1,
            wake_ms: u64::MAX,
            batch: BTreeMap::new(),
        }
    }

    /// What the feed calls its certificate.
    #[must_use]
    pub const fn cert(&self) -> CertRef {
        self.papers.cert
    }

    /// The chain as slices.
    #[must_use]
    pub(crate) fn chain(&self) -> Vec<&[u8]> {
        self.papers.chain.iter().map(Vec::as_slice).collect()
    }

    /// Anything it might say of itself, signed with its own key.
    #[must_use]
    pub fn sign(&self, presence: &Presence) -> Vec<u8> {
        presence.sign(&network(), &self.papers.key, &self.chain()).unwrap()
    }

    /// Whether it is linked with somebody of this name.
    #[must_use]
    pub fn is_linked_with(&self, node: &NodeName) -> bool {
        self.node.links().iter().any(|link| link.node == *node)
    }
}
