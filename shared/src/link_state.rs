//! Link state: a node's own signed statement of the peers that it is linked with and the topics
//! that its programs want.
//!
//! Where not everybody is linked with everybody, a message finds its way by these, as in OSPF
//! (RFC 2328 §12): each node says only what it knows itself, everybody passes it on unchanged, and
//! newer replaces older. Signed, because it is heard through others.
//!
//! **Invariant:** a [`LinkState`] that was verified was signed by a member, about itself.

use minicbor::{Decode, Encode};

use crate::cert::Usage;
use crate::key::{KeyError, PrivateKey};
use crate::limits::{AHEAD_S, LINK_STATE_LIFE_S, LINKS_MAX, WISHES_BYTES_MAX};
use crate::name::{NetworkName, NodeName};
use crate::refusal::{Code, Refusal};
use crate::statement::{self, Topic, Unverified, cbor};
use crate::time::Timestamp;
use crate::verify::Verifier;

/// What a node says of its links and wishes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct LinkState {
    /// Who.
    #[n(0)]
    pub node: NodeName,
    /// How often its daemon has been started.
    #[n(1)]
    pub boot: u64,
    /// Counts statements within one run.
    #[n(2)]
    pub sequence: u64,
    /// When it was said.
    #[n(3)]
    pub at: Timestamp,
    /// Its links.
    #[n(4)]
    pub links: Vec<NodeName>,
    /// Filters of its programs, shared ones with their groups; none while all that hear it are
    /// linked with it.
    #[n(5)]
    pub wishes: Vec<String>,
}

impl LinkState {
    /// Signs it with the node's key; `chain` is the node's, leaf first.
    ///
    /// # Errors
    /// [`KeyError`] if the key gives no signature.
    pub fn sign(
        &self,
        network: &NetworkName,
        key: &PrivateKey,
        chain: &[&[u8]],
    ) -> Result<Vec<u8>, KeyError> {
        let payload = cbor(|e| e.encode(self)?.ok());
        statement::sign(Topic::LinkState, network, key, chain, &payload)
    }

    /// Which of two of one node is newer: the greater.
    #[must_use]
    pub const fn order(&self) -> (u64, u64) {
        (self.boot, self.sequence)
    }

    /// Whether nothing is to be made of it any more.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.at.plus_s(LINK_STATE_LIFE_S) < now
    }

    /// Verifies one: its chain, its signature, and that it is about its signer.
    ///
    /// # Errors
    /// [`Refusal`]: what the verifier says of the chain, or `malformed`.
    pub fn verify(
        bytes: &[u8],
        network: &NetworkName,
        verifier: &Verifier,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let malformed = |text: String| Refusal::new(Code::Malformed, text);
        let statement = Unverified::parse(Topic::LinkState, bytes)
            .map_err(|e| malformed(format!("link state: {e}")))?;
        let member = verifier.admit(statement.chain(), Usage::Client, None, now)?;
        let payload = statement
            .verify(network, &member.cert.public)
            .map_err(|e| malformed(format!("link state: {e}")))?;
        let state =
            Self::read(payload).ok_or_else(|| malformed("link state: unreadable".to_owned()))?;
        if state.node != *member.node() {
            let detail = format!("link state of {} signed by {}", state.node, member.node());
            return Err(malformed(detail));
        }
        if state.at > now.plus_s(AHEAD_S) || state.is_over(now) {
            let detail = format!("link state: signed at {}, too far from now", state.at);
            return Err(malformed(detail));
        }
        Ok(state)
    }

    /// Reads one without believing anything: to skip what is known already.
    #[must_use]
    pub fn peek(bytes: &[u8]) -> Option<Self> {
        Self::read(Unverified::parse(Topic::LinkState, bytes).ok()?.unverified_payload())
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let mut decoder = minicbor::Decoder::new(payload);
        let state: Self = decoder.decode().ok()?;
        let wishes: usize = state.wishes.iter().map(String::len).sum();
        let bounded = state.links.len() <= LINKS_MAX && wishes <= WISHES_BYTES_MAX;
        (bounded && decoder.position() == payload.len()).then_some(state)
    }
}
