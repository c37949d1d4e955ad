//! Signs our link states with the node's key, and verifies those of others by the network's
//! verifier.

use std::sync::Arc;

use mqtt::Notary;
use peer_core::Signer;
use shared::link_state::LinkState;
use shared::time::Timestamp;
use shared::verify::Verifier;

/// See above; another takes its place when the certificate is renewed.
pub(super) struct NodeNotary {
    pub(super) signer: Signer,
    pub(super) verifier: Arc<Verifier>,
}

impl Notary for NodeNotary {
    fn sign(&self, state: &LinkState) -> Option<Vec<u8>> {
        let signed = self.signer.sign_link_state(state);
        signed.inspect_err(|error| tracing::error!(%error, "no link state was signed")).ok()
    }

    fn verify(&self, sealed: &[u8], now: Timestamp) -> Option<LinkState> {
        let verified = LinkState::verify(sealed, self.signer.network(), &self.verifier, now);
        verified.inspect_err(|refusal| tracing::warn!(%refusal, "link state refused")).ok()
    }

    fn peek(&self, sealed: &[u8]) -> Option<LinkState> {
        LinkState::peek(sealed)
    }
}

#[cfg(test)]
mod tests {
    use shared::key::{Algorithm, PrivateKey};
    use shared::limits::{AHEAD_S, LINK_STATE_LIFE_S, LINKS_MAX, WISHES_BYTES_MAX};
    use shared::verify::Anchors;

    use super::*;
    use crate::fixture::{Authority, node};

    fn notary_of(authority: &Authority, name: &str) -> NodeNotary {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let chain = authority.chain(name, key.public());
        let signer = Signer::new(authority.network.clone(), key, chain);
        let root = shared::pem::certificates(authority.trust().as_bytes(), 1).unwrap();
        let anchors = Anchors::new(authority.network.clone(), &root).unwrap();
        NodeNotary { signer, verifier: Arc::new(Verifier::new(anchors)) }
    }

    fn state(authority: &Authority) -> LinkState {
        LinkState {
            node: node("alice"),
            boot: 1,
            sequence: 2,
            at: authority.now,
            links: vec![node("bob"), node("carol")],
            wishes: vec!["plant/#".to_owned(), "$share/g/job".to_owned()],
        }
    }

    #[test]
    fn what_a_node_says_of_itself_is_believed() {
        let authority = Authority::new("mesh.example");
        let (alice, bob) = (notary_of(&authority, "alice"), notary_of(&authority, "bob"));
        let said = state(&authority);
        let sealed = alice.sign(&said).unwrap();
        assert_eq!(bob.verify(&sealed, authority.now), Some(said.clone()));
        assert_eq!(bob.peek(&sealed), Some(said));
    }

    #[test]
    fn what_is_forged_old_or_too_much_is_not() {
        let authority = Authority::new("mesh.example");
        let (alice, bob) = (notary_of(&authority, "alice"), notary_of(&authority, "bob"));
        let (now, said) = (authority.now, state(&authority));
        let others = LinkState { node: node("carol"), ..said.clone() };
        let early = LinkState { at: now.plus_s(AHEAD_S + 1), ..said.clone() };
        let late = LinkState { at: now.plus_s(-LINK_STATE_LIFE_S - 1), ..said.clone() };
        let many = LinkState { links: vec![node("bob"); LINKS_MAX + 1], ..said.clone() };
        let long = LinkState { wishes: vec!["x".repeat(WISHES_BYTES_MAX + 1)], ..said.clone() };
        for wrong in [others, early, late, many, long] {
            let sealed = alice.sign(&wrong).unwrap();
            assert_eq!(bob.verify(&sealed, now), None, "{wrong:?}");
        }
        let foreign = notary_of(&Authority::new("mesh.example"), "alice");
        assert_eq!(bob.verify(&foreign.sign(&said).unwrap(), now), None);
        let sealed = alice.sign(&said).unwrap();
        for at in (0..sealed.len()).step_by(7) {
            let mut wrong = sealed.clone();
            wrong[at] ^= 1;
            assert_eq!(bob.verify(&wrong, now), None, "octet {at}");
            assert_eq!(bob.verify(&sealed[..at], now), None, "cut at {at}");
        }
    }
}
