//! Who may vouch for outside time, as certificates and policy say.

use std::collections::BTreeMap;

use shared::name::NodeName;
use shared::policy::Request;
use shared::refusal::{Code, Refusal};
use shared::time::Now;
use shared::verify::Member;

use super::Node;
use crate::links::is_authority;

/// The role that lets a certificate vouch for outside time.
const TIME_ROOT: &str = "time-root";

impl Node {
    /// Shuts the mesh towards everybody who may not vouch for the time, while only a floor is known
    /// of it; before anybody is linked.
    pub const fn shut_until_time(&mut self) {
        self.shut = true;
    }

    /// Opens it: every chain that was judged by the floor is judged again, and who was refused is
    /// dialled at once.
    pub fn open_with_time(&mut self, now: Now) {
        if !std::mem::take(&mut self.shut) {
            return;
        }
        self.look_at_dates(now);
        for node in self.dialling.names() {
            self.dialling.encourage(&node, now.tick);
        }
    }

    /// While the mesh is shut only those are let in who may say what time it is, and the authority.
    pub(super) fn refuse_if_shut(&self, member: &Member) -> Result<(), Refusal> {
        let vouches = member.cert.attributes.has_role(TIME_ROOT) && self.is_let(member.node());
        if !self.shut || vouches || is_authority(member) {
            return Ok(());
        }
        let detail = "the time is not known here yet, and it has no role time-root";
        Err(Refusal::new(Code::Policy, detail))
    }

    /// Whether we may.
    #[must_use]
    pub fn is_time_root(&self) -> bool {
        let me = &self.settings.node;
        self.settings.attributes.has_role(TIME_ROOT) && self.is_let(me)
    }

    /// All members of the directory, and whether they may. The role is what allows it; a policy can
    /// take it away by a rule that denies, and need not mention it else.
    #[must_use]
    pub fn time_roll(&self) -> BTreeMap<NodeName, bool> {
        let may = |node: &NodeName, has_role: bool| has_role && self.is_let(node);
        let all = self.directory.iter();
        all.map(|(node, signed, _)| {
            let has_role = signed.member.cert.attributes.has_role(TIME_ROOT);
            (node.clone(), may(node, has_role))
        })
        .collect()
    }

    fn is_let(&self, node: &NodeName) -> bool {
        let me = &self.settings.node;
        let said = self.why(node, me, Request::TimeRoot);
        said.is_none_or(|decision| decision.allowed || decision.by.is_none())
    }
}
