//! What the authority can be asked, by a command beside it or inside the same process: one enum.
//!
//! A command never opens the authority itself. It asks a [`Door`](client::Door), which answers from
//! the state folder if nobody has it, and otherwise asks the `ca-tool serve` that does. A question
//! brings no private key and touches no file of the one who asks: keys are made and files written
//! by the command, with its own rights.
//!
//! **Invariant:** a question is answered by the same code wherever it is asked.

mod acts;
pub mod client;
mod invites;
mod limits;
mod line;
mod looks;
pub mod server;

use host::fault::Fault;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use acts::{
    Certified, Enroll, PolicyPush, PolicyPushed, Refresh, Renew, Spread, Stand, Standing, Stood,
};
pub use invites::{Approve, Deny, InviteNode, Invited, Invites, Uninvite};
pub use line::Octets;
pub use looks::{
    CertificateOf, Diagnose, Facts, Log, LogCheck, NodeOf, Nodes, PAGE, PolicyNow, Projections,
    Recorded, Who,
};

use crate::authority::{Authority, Registry, Surroundings};
use crate::error::CaError;
use crate::publish::{Publish, Report};

/// How news goes out to the network.
pub type Publisher<'a> = &'a (dyn Fn(&Authority, &Publish) -> Result<Report, CaError> + Sync);

/// What questions are answered from.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// What is known without any key.
    pub registry: &'a Registry,
    /// The same with the issuing key, where it is open.
    pub authority: Option<&'a Authority>,
    /// How news goes out.
    pub publisher: Publisher<'a>,
    /// What new nodes are told of the network.
    pub around: &'a Surroundings,
}

impl<'a> Ground<'a> {
    fn authority(&self) -> Result<&'a Authority, CaError> {
        self.authority.ok_or(CaError::Unusable)
    }
}

/// One question and its answer.
pub trait Question: Into<Ask> {
    /// What comes back.
    type Answer: Serialize + DeserializeOwned;
    /// Whether the issuing key is needed for it.
    const NEEDS_KEY: bool;

    /// Answers it.
    ///
    /// # Errors
    /// [`Fault`]: what stands against it, and what to type.
    fn answer(self, ground: Ground<'_>) -> Result<Self::Answer, Fault>;
}

macro_rules! questions {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Every question, as it travels.
        #[derive(Serialize, Deserialize)]
        #[serde(tag = "ask", content = "with", rename_all = "kebab-case")]
        pub enum Ask {
            $($(#[doc = $doc])* $name($name),)*
        }

        impl Ask {
            /// Answers it as JSON.
            ///
            /// # Errors
            /// As [`Question::answer`].
            pub fn answer(self, ground: Ground<'_>) -> Result<serde_json::Value, Fault> {
                let answered = match self {
                    $(Self::$name(question) => serde_json::to_value(question.answer(ground)?),)*
                };
                answered.map_err(|error| Fault::failed(error.to_string()))
            }
        }

        $(impl From<$name> for Ask {
            fn from(question: $name) -> Self {
                Self::$name(question)
            }
        })*
    };
}

questions! {
    /// Make a node of a key.
    Enroll,
    /// Certify a node again.
    Renew,
    /// Revoke, suspend or resume a node.
    Stand,
    /// Sign the feed again.
    Refresh,
    /// Bring feed and policy to the peers.
    Spread,
    /// Make a policy the network's.
    PolicyPush,
    /// The policy that holds.
    PolicyNow,
    /// The network and where it begins.
    Facts,
    /// All nodes, page by page.
    Nodes,
    /// One node.
    NodeOf,
    /// One certificate.
    CertificateOf,
    /// The log, page by page.
    Log,
    /// Whether the log is whole.
    LogCheck,
    /// What is wrong or will be.
    Diagnose,
    /// That feed and CRL stand in their files.
    Projections,
    /// Invite a node.
    InviteNode,
    /// All invitations.
    Invites,
    /// Take an invitation back.
    Uninvite,
    /// Let in who waits.
    Approve,
    /// Turn away who waits.
    Deny,
}
