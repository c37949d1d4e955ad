//! Questions about invitations.

use host::fault::Fault;
use serde::{Deserialize, Serialize};
use shared::limits::JOIN_ADDRESSES_MAX;
use shared::name::NodeName;
use zeroize::Zeroizing;

use super::{Ground, Question};
use crate::authority::{Enrolment, InvitationView, Invite};

/// Invite a node.
#[derive(Serialize, Deserialize)]
pub struct InviteNode {
    /// What its user becomes.
    pub wish: Enrolment,
    /// Seconds it stands open.
    pub open_s: i64,
    /// Whether a person approves whoever comes.
    pub hold: bool,
    /// Where the authority answers; where it serves, unless given.
    pub addresses: Vec<String>,
}

/// An invitation that was made.
#[derive(Serialize, Deserialize)]
pub struct Invited {
    /// The join string, shown this once.
    pub string: Zeroizing<String>,
    /// What it is.
    pub invitation: InvitationView,
}

impl Question for InviteNode {
    type Answer = Invited;
    const NEEDS_KEY: bool = true;

    fn answer(self, ground: Ground<'_>) -> Result<Invited, Fault> {
        let Self { wish, open_s, hold, mut addresses } = self;
        if addresses.is_empty() {
            addresses.clone_from(&ground.around.addresses);
        }
        addresses.truncate(JOIN_ADDRESSES_MAX);
        if addresses.is_empty() {
            return Err(Fault::failed("nobody could come: the authority is not online")
                .hint("start it with `ca-tool serve`, or say where it will be: --at HOST:PORT"));
        }
        let invite = Invite { wish, open_s, hold, addresses };
        let (string, invitation) = ground.authority()?.invite(&invite)?;
        Ok(Invited { string: string.reveal(), invitation })
    }
}

/// All invitations on record.
#[derive(Serialize, Deserialize)]
pub struct Invites;

impl Question for Invites {
    type Answer = Vec<InvitationView>;
    const NEEDS_KEY: bool = false;

    fn answer(self, ground: Ground<'_>) -> Result<Vec<InvitationView>, Fault> {
        Ok(ground.registry.invitations()?)
    }
}

/// Take back the invitation of a name.
#[derive(Serialize, Deserialize)]
pub struct Uninvite(pub NodeName);

impl Question for Uninvite {
    type Answer = InvitationView;
    const NEEDS_KEY: bool = false;

    fn answer(self, ground: Ground<'_>) -> Result<InvitationView, Fault> {
        Ok(ground.registry.uninvite(&self.0)?)
    }
}

/// Let in whoever waits under a name.
#[derive(Serialize, Deserialize)]
pub struct Approve(pub NodeName);

impl Question for Approve {
    type Answer = InvitationView;
    const NEEDS_KEY: bool = true;

    fn answer(self, ground: Ground<'_>) -> Result<InvitationView, Fault> {
        Ok(ground.authority()?.approve(&self.0)?)
    }
}

/// Turn away whoever waits under a name.
#[derive(Serialize, Deserialize)]
pub struct Deny(pub NodeName);

impl Question for Deny {
    type Answer = InvitationView;
    const NEEDS_KEY: bool = false;

    fn answer(self, ground: Ground<'_>) -> Result<InvitationView, Fault> {
        Ok(ground.registry.deny(&self.0)?)
    }
}
