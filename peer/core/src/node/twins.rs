//! One certificate in two runs: the second is refused, and both statements are kept as evidence.
//!
//! **Invariant:** only what the accused's own key signed is evidence: nobody else can make it.

use shared::presence::{Presence, SignedPresence};
use shared::refusal::{Code, Refusal};
use shared::time::Now;

use super::{Decision, Node};
use crate::action::Event;

impl Node {
    /// A newcomer contradicts the run that we know.
    pub(super) fn refuse_twin(&mut self, newcomer: &SignedPresence) -> Refusal {
        let node = &newcomer.presence.node;
        let detail = format!("another instance of {node} is alive with the same certificate");
        let known = self.directory.signed(node).cloned();
        if let Some(known) =
            known.filter(|known| known.presence.instance != newcomer.presence.instance)
        {
            self.tell_twins(&known, newcomer);
        }
        Refusal::new(Code::DuplicateInstance, detail)
    }

    /// Our own certificate: ourselves, met by an address whose node was not known, or a copy.
    pub(super) fn meet_self(
        &mut self,
        other: &SignedPresence,
        now: Now,
    ) -> Result<Decision, Refusal> {
        if other.presence.instance == self.settings.instance {
            return Ok(Decision::Goodbye);
        }
        self.accuse_copy(other, now);
        Err(Refusal::new(Code::DuplicateInstance, "it has our own certificate"))
    }

    /// Somebody passes on a presence that we do not keep. If it proves that its node lives twice,
    /// that is told; an old statement of an earlier run proves nothing.
    pub(super) fn suspect(&mut self, bytes: &[u8], said: &Presence, now: Now) {
        let own = said.node == self.settings.node;
        let known = self.directory.signed(&said.node).map(|known| &*known.presence);
        let Some(known) = known.or(own.then_some(&self.presence)) else { return };
        let worth = said.proves_copy(known)
            && self.twins.may_check(&said.instance, &known.instance, now.tick);
        if !worth {
            return;
        }
        let network = &self.settings.network;
        let Ok(signed) = SignedPresence::verify(bytes, network, &self.verifier, now.wall) else {
            return;
        };
        if own {
            self.accuse_copy(&signed, now);
        } else if let Some(known) = self.directory.signed(&said.node).cloned() {
            self.tell_twins(&known, &signed);
        }
    }

    fn accuse_copy(&mut self, other: &SignedPresence, now: Now) {
        let network = &self.settings.network;
        let own = SignedPresence::verify(&self.presence_bytes, network, &self.verifier, now.wall);
        if let Ok(own) = own {
            self.tell_twins(&own, other);
        }
    }

    fn tell_twins(&mut self, known: &SignedPresence, other: &SignedPresence) {
        if self.twins.is_news(&known.presence.instance, &other.presence.instance) {
            let node = known.presence.node.clone();
            let statements = [known.bytes.to_vec(), other.bytes.to_vec()];
            self.tell(Event::Twins { node, statements });
        }
    }
}
