//! What can go wrong in the authority, with whose fault it is and what to do about it.
//!
//! Every error becomes a [`Fault`]: one line of what was wrong, one of what to type. Refusals by
//! policy (a revoked node, a key in use) have exit code 3, everything else 1.
//!
//! **Invariant:** an error that leaves this crate has changed nothing in the store.

use std::path::PathBuf;

use host::fault::{Exit, Fault};
use host::files::FileError;
use host::lock::LockError;
use host::passphrase::PassphraseError;
use host::random::RandomError;
use host::seal::SealError;
use host::yaml::YamlError;
use shared::cert::request::RequestError;
use shared::cert::{CertError, IssueError, ProfileError};
use shared::feed::FeedError;
use shared::join;
use shared::key::KeyError;
use shared::name::{Label, MemberKind, NodeName};
use shared::pem::PemError;
use shared::policy::PolicyError;
use shared::time::Timestamp;
use shared::verify::AnchorError;

/// Why the authority did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// Something stands where a new authority or bundle should. Fault: operator.
    #[error("{} exists already", path.display())]
    Exists {
        /// What stands there.
        path: PathBuf,
    },
    /// No authority in the folder. Fault: operator.
    #[error("no authority in {}", path.display())]
    NoAuthority {
        /// Where one was looked for.
        path: PathBuf,
    },
    /// The store was written by a newer program. Fault: operator.
    #[error("the store has format {found}; this program knows format {known}")]
    Format {
        /// The format found.
        found: u32,
        /// The newest known.
        known: u32,
    },
    /// The store cannot be read or written. Fault: disk.
    #[error("the store: {0}")]
    Store(String),
    /// Something in the state folder contradicts something else. Fault: disk, or whoever edited it.
    #[error("the authority's state is damaged: {0}")]
    Damaged(String),
    /// Another thread died while it held the state. Fault: ours.
    #[error("the authority's state is unusable")]
    Unusable,
    /// The node has a live certificate. Fault: operator.
    #[error("{node} is enrolled already, until {until}")]
    AlreadyEnrolled {
        /// The node.
        node: NodeName,
        /// Until when its newest certificate lives.
        until: Timestamp,
    },
    /// Another request for the same node is being worked on. Fault: operator.
    #[error("another certificate for {node} is being issued")]
    Busy {
        /// The node.
        node: NodeName,
    },
    /// No such node. Fault: operator.
    #[error("{node} is not enrolled")]
    NotEnrolled {
        /// The node.
        node: NodeName,
    },
    /// The node is revoked. Fault: operator.
    #[error("{node} was revoked at {at}")]
    Revoked {
        /// The node.
        node: NodeName,
        /// Since when.
        at: Timestamp,
    },
    /// The node is suspended. Fault: operator.
    #[error("{node} is suspended since {since}")]
    Suspended {
        /// The node.
        node: NodeName,
        /// Since when.
        since: Timestamp,
    },
    /// The node is not suspended. Fault: operator.
    #[error("{node} is not suspended")]
    NotSuspended {
        /// The node.
        node: NodeName,
    },
    /// The name is the authority's own. Fault: operator.
    #[error("the name {node} is reserved for the authority itself")]
    ReservedName {
        /// The name.
        node: NodeName,
    },
    /// The role is the authority's own. Fault: operator.
    #[error("the role {role} is reserved for the authority itself")]
    ReservedRole {
        /// The role.
        role: Label,
    },
    /// The key belongs to another node. Fault: requester.
    #[error("the key is {by}'s")]
    KeyInUse {
        /// Whose it is.
        by: NodeName,
    },
    /// The key was revoked with its node. Fault: requester.
    #[error("the key was revoked with {node}")]
    KeyBarred {
        /// With which node.
        node: NodeName,
    },
    /// The name is another kind of member's. Fault: operator.
    #[error("{node} is the name of {}", with_article(*is))]
    OtherKind {
        /// The name.
        node: NodeName,
        /// What it is.
        is: MemberKind,
    },
    /// The role is for peers only. Fault: operator.
    #[error("the role {role} is for peers only, and an app is none")]
    PeerRole {
        /// The role.
        role: Label,
    },
    /// An app would get names to serve under. Fault: operator.
    #[error("an app serves nobody: it has no DNS names or addresses beside its own name")]
    AppNames,
    /// No such profile. Fault: operator.
    #[error("no profile {name}")]
    UnknownProfile {
        /// The name.
        name: Label,
    },
    /// The profile is for something else. Fault: operator.
    #[error("the profile {name} is not for this")]
    ProfileKind {
        /// The name.
        name: Label,
    },
    /// A profile that contradicts itself. Fault: operator.
    #[error("profile {name}: {source}")]
    Profile {
        /// Its name.
        name: String,
        /// What is wrong.
        source: ProfileError,
    },
    /// A life outside the profile. Fault: operator.
    #[error("a life of {asked_s} s is outside the profile {name}: {min_s} s to {max_s} s")]
    Life {
        /// Seconds asked for.
        asked_s: i64,
        /// The profile.
        name: Label,
        /// Shortest.
        min_s: i64,
        /// Longest.
        max_s: i64,
    },
    /// A DNS name outside the network. Fault: operator.
    #[error("{dns} is no DNS name inside {network}")]
    DnsOutside {
        /// The name.
        dns: String,
        /// The network.
        network: String,
    },
    /// Too many names, groups or roles. Fault: operator.
    #[error("more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many may be.
        max: usize,
    },
    /// The clock stands before what the store remembers. Fault: the machine.
    #[error("the clock shows {now}, but the newest record is of {newest}")]
    ClockBehind {
        /// The clock.
        now: Timestamp,
        /// The newest record.
        newest: Timestamp,
    },
    /// The issuing certificate has ended. Fault: operator.
    #[error("the issuing certificate ended at {at}")]
    IssuerExpired {
        /// When.
        at: Timestamp,
    },
    /// The feed is full. Fault: operator.
    #[error("the feed holds {max} revocations, and none has expired")]
    FeedFull {
        /// The bound.
        max: usize,
    },
    /// A peer knows a later feed than the store: an old copy was restored. Fault: operator.
    #[error("{via} has feed number {theirs}, our store only {ours}: it is an old copy")]
    RolledBack {
        /// Our number.
        ours: u64,
        /// The peer's.
        theirs: u64,
        /// Which peer.
        via: String,
    },
    /// Somebody who wants to join is refused. Fault: theirs, or of whoever invited.
    #[error("{text}")]
    Join {
        /// The stable code.
        code: join::Code,
        /// What is wrong.
        text: String,
    },
    /// No invitation of the name stands so. Fault: operator.
    #[error("no invitation of {node} {what}")]
    NoInvitation {
        /// The node.
        node: NodeName,
        /// How it should stand.
        what: &'static str,
    },
    /// A policy file that is too large or contradicts itself. Fault: operator.
    #[error("{}: {source}", path.display())]
    PolicyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PolicyError,
    },
    /// Tests of a policy file that fail. Fault: operator.
    #[error("{}: {failed} of {of} tests failed: {}", path.display(), first.join("; "))]
    PolicyTests {
        /// The file.
        path: PathBuf,
        /// How many fail.
        failed: usize,
        /// Of how many.
        of: usize,
        /// The first of them, as sentences.
        first: Vec<String>,
    },
    /// The policy says what holds already. Fault: operator.
    #[error("policy {number} says the same already")]
    PolicySame {
        /// The number of the policy that holds; 0 is the built-in one.
        number: u64,
    },
    /// A policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// TLS cannot be set up. Fault: ours.
    #[error("{0}")]
    Tls(String),
    /// A file that says something it may not. Fault: operator.
    #[error("{}: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A certificate request.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Nothing was signed.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// A certificate.
    #[error("certificate: {0}")]
    Cert(#[from] CertError),
    /// The feed.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The trust file.
    #[error(transparent)]
    Anchors(#[from] AnchorError),
    /// PEM text.
    #[error("PEM: {0}")]
    Pem(#[from] PemError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Keys at rest.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A passphrase.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// YAML.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// Randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl CaError {
    /// How a command that met this error ends.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Revoked { .. }
            | Self::Suspended { .. }
            | Self::ReservedName { .. }
            | Self::ReservedRole { .. }
            | Self::OtherKind { .. }
            | Self::PeerRole { .. }
            | Self::AppNames
            | Self::KeyInUse { .. }
            | Self::KeyBarred { .. }
            | Self::Life { .. }
            | Self::DnsOutside { .. }
            | Self::Request(_)
            | Self::Join { .. }
            | Self::Issue(IssueError::Lint(_)) => Exit::Refused,
            _ => Exit::Failed,
        }
    }

    /// A thing to do or to type, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Lock(error) => error.hint(),
            Self::Seal(error) => error.hint(),
            Self::Passphrase(error) => error.hint(),
            Self::Yaml(error) => error.hint(),
            other => other.own_hint(),
        }
    }

    fn own_hint(&self) -> Option<String> {
        Some(match self {
            Self::Exists { path } => format!(
                "nothing was overwritten; choose another place, or move it away: mv {0} {0}.old",
                path.display()
            ),
            Self::NoAuthority { .. } => {
                "make one: ca-tool init mesh.example   (or name its folder with --pki DIR)".into()
            }
            Self::Format { .. } => "use the newer ca-tool that wrote it".into(),
            Self::Store(_) => "see whether the disk is full or failing: ca-tool doctor".into(),
            Self::Damaged(_) => "restore the whole folder from a backup".into(),
            Self::AlreadyEnrolled { node, .. } => format!(
                "ca-tool renew {node} --out {node}.bundle\n\
                 if its bundle is lost: ca-tool renew {node} --new-key --out {node}.new"
            ),
            Self::Busy { .. } => "wait a moment, then try again".into(),
            Self::NotEnrolled { node } => format!(
                "see who is: ca-tool list\nor enrol it: ca-tool enroll {node} --out {node}.bundle"
            ),
            Self::Revoked { node, .. } => format!(
                "revocation is for good; a new certificate: ca-tool enroll {node} --out {node}.new"
            ),
            Self::Suspended { node, .. } => format!("ca-tool resume {node}"),
            Self::NotSuspended { node } => format!("see how it stands: ca-tool show {node}"),
            Self::ReservedName { .. } | Self::ReservedRole { .. } => "choose another name".into(),
            Self::KeyInUse { .. } | Self::KeyBarred { .. } => {
                "make a new key and request on the node: peer request NAME".into()
            }
            Self::UnknownProfile { name } => {
                format!("write one as profiles/{name}.yaml in the state folder, or use node")
            }
            Self::ProfileKind { .. } => "use --profile node, or --profile app".into(),
            Self::OtherKind { node, .. } => {
                format!("choose another name, or free this one: ca-tool revoke {node}")
            }
            Self::PeerRole { .. } => "a machine with a peer on it is a node: --profile node".into(),
            Self::AppNames => "leave --dns and --ip out, or enrol a node: --profile node".into(),
            Self::Life { .. } => "choose a --ttl inside, or another --profile".into(),
            Self::DnsOutside { network, .. } => format!("use a name that ends in .{network}"),
            Self::ClockBehind { .. } => "set the clock right; nothing was signed".into(),
            Self::RolledBack { .. } => {
                "nothing was published; restore the newest backup of the state folder".into()
            }
            Self::PolicyFile { source: PolicyError::Contradiction(_), .. } => {
                "rules are looked at in order: move the rule up, narrow it, or remove it".into()
            }
            Self::PolicyTests { path, .. } => {
                format!("see all: ca-tool policy test {}", path.display())
            }
            Self::PolicySame { number: 0 } => "nothing to do: it is the built-in one".into(),
            Self::PolicySame { .. } => {
                "nothing to do; to bring it to peers again: ca-tool publish".into()
            }
            Self::NoInvitation { .. } => "see what there is: ca-tool invites".into(),
            Self::Request(_) => "make a new request on the node: peer request NAME".into(),
            _ => return None,
        })
    }
}

const fn with_article(kind: MemberKind) -> &'static str {
    match kind {
        MemberKind::Node => "a node",
        MemberKind::App => "an app",
    }
}

impl From<CaError> for Fault {
    fn from(error: CaError) -> Self {
        let what = error.to_string();
        let fault = match error.exit() {
            Exit::Refused => Self::refused(what),
            _ => Self::failed(what),
        };
        match error.hint() {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}
