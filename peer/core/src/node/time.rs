//! Who may vouch for outside time, as certificates and policy say.

use std::collections::BTreeMap;

use shared::name::NodeName;
use shared::policy::Request;

use super::Node;

/// The role that lets a certificate vouch for outside time.
const TIME_ROOT: &str = "time-root";

impl Node {
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
