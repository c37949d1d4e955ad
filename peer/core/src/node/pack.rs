//! Packs in the hall: for whoever listens now, without a disk at either end.
//!
//! A pack is answered as a message is: by the receiver's application, by the end of the link or
//! after a time. Policy and quotas are asked at both ends, as for everything that is said.

use shared::name::NodeName;
use shared::refusal::{Code, Refusal};
use shared::time::Now;
use shared::wire::Pack;

use super::Node;
use crate::action::{Action, AnswerTo, Class, Outcome, RequestId};
use crate::links::LinkId;

impl Node {
    /// An application has something for the one that listens at a node now. Nothing waits here:
    /// without a link it is answered at once.
    pub fn handle_pack(&mut self, request: RequestId, to: &NodeName, pack: Pack, now: Now) {
        if let Err(code) = self.may_tell(to) {
            return self.answer(request, Outcome::Refused(code));
        }
        if pack.count == 0 {
            return self.answer(request, Outcome::Refused(Code::Malformed));
        }
        if let Some((link, id)) = self.begin(request, to, now) {
            let frame = pack.into_frame(id);
            self.push(Action::Send { link, class: Class::Message, frame });
        }
    }

    pub(super) fn take_pack(&mut self, link: LinkId, pack: Pack, now: Now) -> Result<(), Refusal> {
        let Some(entry) = self.links.get(link) else { return Ok(()) };
        if entry.is_visitor() {
            return Err(Refusal::new(Code::Malformed, "the authority sends no messages"));
        }
        let from = entry.member.node().clone();
        self.talk_with(&from, now);
        match self.may_hear(link, pack.count as usize, pack.bytes(), now) {
            Ok(()) => self.hand(link, from, pack),
            Err(code) => self.handle_stored(link, pack.id, Some(code)),
        }
        Ok(())
    }

    pub(super) fn hand(&mut self, link: LinkId, from: NodeName, pack: Pack) {
        self.push(Action::Hand { to: AnswerTo::Link(link, pack.id), from, pack });
    }

    /// The application that listens has taken a pack, or has not.
    pub fn handle_handed(&mut self, to: AnswerTo, refused: Option<Code>) {
        match to {
            AnswerTo::Link(link, id) => self.handle_stored(link, id, refused),
            AnswerTo::Carried(broadcast) => self.carried_heard(broadcast, refused),
        }
    }
}
