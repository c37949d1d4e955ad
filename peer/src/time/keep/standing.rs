//! Who among the sources has a say: what their certificates are worth now.
//!
//! **Invariant:** a certificate that is out or over gives no say, whatever else is known of its
//! holder; and who may come back with another one is still a root that there is.

use clock::keeper::Members;
use shared::refusal::Code;

use super::Keeping;
use crate::time::shown::now;

/// The role that lets a certificate vouch for outside time.
const TIME_ROOT: &str = "time-root";

impl Keeping {
    /// Judges all members among the sources again, and tells the keeper who is left.
    pub(super) fn judge(&mut self) {
        let (wall, cold) = (self.shown.wall(), self.shown.cold().is_some());
        let mut members = Members { time_root: self.roll.time_root, ..Members::default() };
        for (node, time_root) in &self.roll.members {
            let known = if *time_root { &mut members.roots } else { &mut members.others };
            known.insert(node.clone());
        }
        for (id, seat) in &mut self.seats {
            if let Some(member) = &seat.standing.member {
                // While only the floor is known, a beginning after it is none of the future.
                let at = if cold { wall.max(member.not_before) } else { wall };
                let refused = self.keep.verifier.recheck(member, at).err().map(|why| why.code);
                seat.barred = refused.is_some();
                seat.outlived = matches!(refused, Some(Code::Expired | Code::NotYetValid));
                let role = member.cert.attributes.has_role(TIME_ROOT);
                let allowed = self.roll.members.get(member.node()).copied().unwrap_or(role);
                if seat.barred && !seat.outlived {
                    members.roots.remove(member.node());
                } else if role && allowed {
                    members.roots.insert(member.node().clone());
                }
            }
            if !seat.barred && !seat.is_candidate() {
                members.sources.insert(id.clone());
            }
        }
        self.keeper.handle_members(members, now());
    }
}
