//! Why a bundle cannot be used, and what to do about it.

use std::path::PathBuf;

use host::fault::Fault;
use host::files::FileError;
use shared::cert::CertError;
use shared::feed::FeedError;
use shared::key::KeyError;
use shared::name::NodeName;
use shared::pem::PemError;
use shared::refusal::{Code, Refusal};
use shared::verify::AnchorError;

use crate::config::ConfigError;

/// Why a bundle cannot be used. Whose fault: whoever made, moved or edited it, or the disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A file or a folder.
    #[error(transparent)]
    File(#[from] FileError),
    /// `node.yaml`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A folder without `node.yaml`.
    #[error("{} is not a bundle: it has no node.yaml", path.display())]
    NotBundle {
        /// The folder.
        path: PathBuf,
    },
    /// Text that holds no certificate or key.
    #[error("{}: {source}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PemError,
    },
    /// A key that cannot be read.
    #[error("{}: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// A certificate that is no node's.
    #[error("{}: {source}", path.display())]
    Cert {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: CertError,
    },
    /// Key and certificate of two different identities.
    #[error("{} does not belong to the key beside it", path.display())]
    KeyMismatch {
        /// The certificate.
        path: PathBuf,
        /// Whose it is.
        node: NodeName,
    },
    /// The certificate of an app, which is no peer.
    #[error("{node} is an app: it uses a peer's doors, and no peer runs as it")]
    App {
        /// The app.
        node: NodeName,
        /// The bundle.
        path: PathBuf,
    },
    /// A certificate of somebody else.
    #[error("the certificate is of {found}, node.yaml says {wanted}")]
    WrongNode {
        /// `NODE.NETWORK` of the certificate.
        found: String,
        /// `NODE.NETWORK` of `node.yaml`.
        wanted: String,
    },
    /// `trust.pem` is of no use.
    #[error("{}: {source}", path.display())]
    Trust {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: AnchorError,
    },
    /// Our own verifier would not admit us.
    #[error("the certificate of {node} is not valid here: {refusal}")]
    Refused {
        /// The node.
        node: NodeName,
        /// Why.
        refusal: Refusal,
    },
    /// The feed file cannot be read.
    #[error("{} is not a feed, or is cut short", path.display())]
    FeedUnreadable {
        /// The file.
        path: PathBuf,
    },
    /// The feed file does not verify.
    #[error("{}: {source}", path.display())]
    Feed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: FeedError,
    },
    /// Somebody else uses it.
    #[error("another {holder} runs on this bundle")]
    Running {
        /// `peer (pid N)`.
        holder: String,
        /// The bundle.
        path: PathBuf,
    },
}

impl BundleError {
    /// A thing to do or to type.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::File(error) => return error.hint(),
            Self::Config(error) => return error.hint(),
            Self::NotBundle { .. } => {
                "make one with ca-tool enroll NODE --out NODE.bundle, or finish one: \
                 peer install NODE.bundle NODE.crt"
                    .to_owned()
            }
            Self::Pem { path, .. } | Self::Key { path, .. } | Self::Cert { path, .. } => {
                format!("put the file from ca-tool back in place of {}", path.display())
            }
            Self::KeyMismatch { node, .. } => format!(
                "certify the key that is here: ca-tool renew {node} --csr {node}.csr --out \
                 {node}.crt; or take a new pair: ca-tool renew {node} --new-key --out {node}.bundle"
            ),
            Self::App { path, .. } => super::usage_of_app(path),
            Self::WrongNode { .. } => "use the bundle whose certificate this is".to_owned(),
            Self::Trust { .. } => "put the trust.pem from ca-tool back".to_owned(),
            Self::Refused { node, refusal } => refused_hint(node, refusal.code),
            Self::FeedUnreadable { path } | Self::Feed { path, .. } => {
                format!("write it again: ca-tool feed export --out {}", path.display())
            }
            Self::Running { path, .. } => format!("peer stop {}", path.display()),
        })
    }
}

fn refused_hint(node: &NodeName, code: Code) -> String {
    match code {
        Code::Expired => format!("ca-tool renew {node}"),
        Code::NotYetValid => "set the clock: the certificate begins later".to_owned(),
        Code::ForeignAuthority => {
            "certificate and trust.pem are of two authorities; take both from one".to_owned()
        }
        _ => format!("ca-tool show {node}"),
    }
}

impl From<BundleError> for Fault {
    fn from(error: BundleError) -> Self {
        let fault = match &error {
            BundleError::App { .. } => Self::refused(error.to_string()),
            _ => Self::failed(error.to_string()),
        };
        match error.hint() {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}
