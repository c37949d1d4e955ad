//! Joining: from one string to a bundle, with a key that is born here and never leaves.
//!
//! ```text
//! string ─▶ connect (pin) ─▶ clocks agree? ─▶ key ─▶ proof ─▶ grant ─▶ verified ─▶ NODE.bundle
//! ```
//!
//! The key is on the disk before it is asked for a certificate, in a folder named after the
//! invitation: whoever is interrupted comes again with the same string and the same key, and is
//! given the same certificate.
//!
//! **Invariant:** nothing becomes a bundle that does not verify as a whole against the pinned root.
//! **Invariant:** the string is not spent while the clocks disagree.

mod call;
mod renew;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use host::fault::Fault;
use host::files::{self, FileError, Mode};
use hyper::Method;
use minicbor::bytes::ByteVec;
use shared::cert::{NodeCert, request as csr};
use shared::id::SpkiHash;
use shared::join::{
    Answer, Code, Failure, Grant, JoinRequest, JoinString, KnownPeer, ProofKey, TimeThere,
};
use shared::key::{Algorithm, PrivateKey};
use shared::limits::{AHEAD_S, GRANT_FEED_BYTES_MAX};
use shared::name::NodeName;
use shared::pem;
use tls::Pinned;

use crate::bundle::{self, BundleError, Paths};
use crate::config::Template;
use crate::install::{self, Installed, Offer};
use call::{Call, CallError};
pub use renew::{RenewError, renew};

/// Bytes of an answer: a feed of the greatest length, and the rest of a grant.
const ANSWER_BYTES_MAX: usize = GRANT_FEED_BYTES_MAX + 1024 * 1024;
/// How long one waits before one asks again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often one asks again of an authority that is busy or not to be reached.
const TRIES_MAX: u32 = 10;

/// What is worth telling while it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The authority answers here, and its clock is ahead of ours by so many ms.
    Reached {
        /// Where.
        address: String,
        /// By how much.
        ahead_ms: i64,
    },
    /// A person has to approve this key.
    Waiting {
        /// SHA-256 of the key, to be compared.
        spki: SpkiHash,
    },
}

/// A finished bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The bundle.
    pub bundle: PathBuf,
    /// What is in it.
    pub installed: Installed,
    /// By how many ms the authority's clock is ahead of ours.
    pub ahead_ms: i64,
}

/// Joins a network.
///
/// # Errors
/// [`Fault`] says what is wrong and whether the string can be used again.
pub async fn join(
    string: &JoinString,
    out: Option<&Path>,
    mut tell: impl FnMut(Progress),
) -> Result<Joined, Fault> {
    if let Some(out) = out.filter(|out| out.symlink_metadata().is_ok()) {
        return Err(FileError::Exists { path: out.to_owned() }.into());
    }
    let mut knock = Knock::at(string).await?;
    tell(Progress::Reached { address: knock.call.address.clone(), ahead_ms: knock.ahead_ms });
    let place = Place::prepare(string, out, knock.algorithm)?;
    let grant = knock.ask(&place.csr, || tell(Progress::Waiting { spki: place.spki })).await?;
    let installed = place.complete(string, &knock.root, &grant, &knock.call.address)?;
    let bundle = place.name(out, &grant.node)?;
    Ok(Joined { bundle, installed, ahead_ms: knock.ahead_ms })
}

/// An authority that was reached by a string, and whose clock agrees with ours.
pub struct Knock<'a> {
    string: &'a JoinString,
    call: Call,
    root: Vec<u8>,
    /// Of new keys in its network.
    pub algorithm: Algorithm,
    /// By how many ms its clock is ahead of ours.
    pub ahead_ms: i64,
}

impl<'a> Knock<'a> {
    /// Connects, and compares the clocks.
    ///
    /// # Errors
    /// [`Fault`]; the string is not spent.
    pub async fn at(string: &'a JoinString) -> Result<Self, Fault> {
        let (mut call, pinned) = connect(string).await?;
        let ahead_ms = compare_clocks(&mut call).await?;
        let Pinned { root, algorithm } = pinned;
        Ok(Self { string, call, root, algorithm, ahead_ms })
    }

    /// Proves, asks, waits where it has to be waited (`on_wait` is told once), and believes the
    /// answer only with its proof. Nothing in the grant is verified yet.
    ///
    /// # Errors
    /// [`Fault`] says whether the string can be used again.
    pub async fn ask(&mut self, csr: &[u8], on_wait: impl FnOnce()) -> Result<Grant, Fault> {
        let fault = |error: shared::key::KeyError| Fault::failed(error.to_string());
        let key = self.string.secret.proof_key().map_err(fault)?;
        let invitation = self.string.secret.id().map_err(fault)?;
        let (mut tries, mut on_wait) = (0, Some(on_wait));
        loop {
            let proof = key.prove_request(&self.call.exporter, csr);
            let request = JoinRequest { invitation, csr: csr.to_vec(), proof }.to_bytes();
            let answer = self.call.ask(Method::POST, "/v1/join", request, ANSWER_BYTES_MAX).await;
            match answer {
                Ok(Ok(bytes)) => return believe(self.string, &self.call, &key, &bytes),
                Ok(Err(failure)) if failure.code == Code::Waiting => {
                    tries = 0;
                    if let Some(tell) = on_wait.take() {
                        tell();
                    }
                }
                Ok(Err(failure)) if failure.code.is_passing() && tries < TRIES_MAX => tries += 1,
                Ok(Err(failure)) => return Err(refused(&failure)),
                Err(error) if tries < TRIES_MAX => {
                    tries += 1;
                    tracing::debug!("asked again: {error}");
                    if let Ok((again, _)) = connect(self.string).await {
                        self.call = again;
                    }
                }
                Err(error) => return Err(lost(&error)),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// The first address that the authority answers at.
async fn connect(string: &JoinString) -> Result<(Call, Pinned), Fault> {
    let mut failures = Vec::new();
    for address in &string.addresses {
        match Call::pinned(address, &string.network, string.pin).await {
            Ok(reached) => return Ok(reached),
            Err(error @ CallError::Foreign { .. }) => {
                return Err(Fault::refused(error.to_string()).hint(
                    "somebody else answers there, or the string is of another network: nothing was \
                     told to it",
                ));
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    Err(Fault::failed(format!("the authority is not reached: {}", failures.join("; ")))
        .hint("see that `ca-tool serve` runs there; the string can be used again"))
}

/// By how much the authority's clock is ahead; an error if a certificate would be of no use.
async fn compare_clocks(call: &mut Call) -> Result<i64, Fault> {
    let (start, before) = (Instant::now(), host::clock::wall());
    let answer = call.ask(Method::GET, "/v1/time", Vec::new(), 64).await;
    let bytes = answer.map_err(|error| lost(&error))?.map_err(|failure| refused(&failure))?;
    let there = TimeThere::from_bytes(&bytes)
        .ok_or_else(|| Fault::failed("the authority does not tell its time"))?;
    let half_ms = i64::try_from(start.elapsed().as_millis() / 2).unwrap_or(0);
    let ahead_ms = there.at.ms_since(before).saturating_sub(half_ms);
    if ahead_ms.abs() <= AHEAD_S * 1000 {
        return Ok(ahead_ms);
    }
    let by = host::terminal::duration_words(ahead_ms.abs() / 1000);
    let way = if ahead_ms > 0 { "behind" } else { "ahead of" };
    Err(Fault::refused(format!(
        "this machine's clock is {by} {way} the authority's ({})",
        there.at
    ))
    .hint("set the clock right; the string is not spent and can be used again"))
}

fn believe(string: &JoinString, call: &Call, key: &ProofKey, bytes: &[u8]) -> Result<Grant, Fault> {
    let nonsense = || Fault::failed("the authority's answer cannot be read");
    let answer = Answer::from_bytes(bytes).ok_or_else(nonsense)?;
    if !key.admits_grant(&answer.proof, &call.exporter, &answer.grant) {
        return Err(Fault::refused("whoever answers does not hold the invitation")
            .hint("somebody is in between; ask the authority for another string"));
    }
    let grant = Grant::from_bytes(&answer.grant).ok_or_else(nonsense)?;
    if grant.network != string.network {
        return Err(Fault::refused(format!("the answer is of the network {}", grant.network)));
    }
    Ok(grant)
}

fn lost(error: &CallError) -> Fault {
    Fault::failed(error.to_string())
        .hint("type the same command again: the key is kept, and the string is still this key's")
}

/// The authority's refusal, with what to do about it.
fn refused(failure: &Failure) -> Fault {
    let hint = match failure.code {
        Code::UnknownInvitation
        | Code::UsedInvitation
        | Code::ExpiredInvitation
        | Code::WithdrawnInvitation
        | Code::Denied => "ask for another string, at the authority: ca-tool invite NODE",
        Code::WrongProof => "somebody is in between; ask the authority for another string",
        Code::NameTaken => "at the authority: ca-tool list, then invite another name",
        Code::Quota | Code::Unavailable => "type the same command again in a minute",
        Code::BadKey => "the key is no good there: remove its folder and type the command again",
        _ => "see at the authority: ca-tool log",
    };
    let text = host::terminal::escape(&failure.text);
    Fault::refused(format!("refused by the authority ({}): {text}", failure.code)).hint(hint)
}

/// The folder that is to become the bundle.
struct Place {
    folder: PathBuf,
    csr: Vec<u8>,
    spki: SpkiHash,
}

impl Place {
    /// The key of an earlier try with the same string, or a new one.
    fn prepare(
        string: &JoinString,
        out: Option<&Path>,
        algorithm: Algorithm,
    ) -> Result<Self, Fault> {
        let fault = |error: shared::key::KeyError| Fault::failed(error.to_string());
        let id = string.secret.id().map_err(fault)?;
        let name = format!(".{}.joining", shared::id::hex(id.as_bytes()));
        let folder = parent(out).join(name);
        let paths = Paths::of(&folder);
        let key = if let Some(key) = earlier(&paths.key())? {
            key
        } else {
            let key = PrivateKey::generate(algorithm).map_err(fault)?;
            files::make_private_dir(&folder)?;
            files::make_private_dir(&folder.join("id"))?;
            let text = pem::encode(pem::PRIVATE_KEY, key.pkcs8());
            files::write_new(&paths.key(), text.as_bytes(), Mode::Secret)?;
            key
        };
        let csr = csr::make(&key, "joining").map_err(|error| Fault::failed(error.to_string()))?;
        Ok(Self { folder, csr, spki: key.public().spki_hash() })
    }

    /// Verifies the grant as a whole and writes what it holds beside the key.
    fn complete(
        &self,
        string: &JoinString,
        root: &[u8],
        grant: &Grant,
        reached: &str,
    ) -> Result<Installed, Fault> {
        let bytes = |list: &[ByteVec]| list.iter().map(|item| item.to_vec()).collect::<Vec<_>>();
        let (chain, roots) = (bytes(&grant.chain), bytes(&grant.roots));
        let nonsense = |what: &str| Fault::refused(format!("the authority's answer {what}"));
        let cert = NodeCert::read(chain.first().map_or(&[][..], Vec::as_slice))
            .map_err(|error| nonsense(&format!("holds no certificate: {error}")))?;
        if !roots.iter().any(|known| known == root) {
            return Err(nonsense("does not hold the pinned root"));
        }
        if cert.node != grant.node || cert.network != string.network {
            return Err(nonsense("holds somebody else's certificate"));
        }
        let optional = |item: &Option<ByteVec>| item.as_ref().map(|bytes| bytes.to_vec());
        let (feed, policy) = (optional(&grant.feed), optional(&grant.policy));
        let offer = Offer { chain, roots, cert, feed, policy };
        let template = settings(grant, reached);
        let from = Path::new("the authority's answer");
        install::complete(&self.folder, from, &offer, &template, host::clock::wall())
    }

    /// Gives the folder its name.
    fn name(&self, out: Option<&Path>, node: &NodeName) -> Result<PathBuf, Fault> {
        let usual = || parent(None).join(format!("{node}.bundle"));
        let bundle = out.map_or_else(usual, Path::to_owned);
        if bundle.symlink_metadata().is_ok() {
            let kept = self.folder.display();
            return Err(Fault::from(FileError::Exists { path: bundle })
                .hint(format!("the new bundle is {kept}: give it another name yourself")));
        }
        files::rename_dir(&self.folder, &bundle)?;
        Ok(bundle)
    }
}

/// The key of an earlier try. One that is not whole was being written when the try was killed:
/// nobody has seen it, and it goes.
fn earlier(path: &Path) -> Result<Option<PrivateKey>, Fault> {
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    match bundle::read_key(path) {
        Ok(key) => Ok(Some(key)),
        Err(BundleError::Pem { .. } | BundleError::Key { .. }) => {
            std::fs::remove_file(path)
                .map_err(|error| FileError::from_io("remove", path, error))?;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn parent(out: Option<&Path>) -> PathBuf {
    let parent = out.and_then(Path::parent).filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or_else(|| Path::new(".")).to_owned()
}

/// What stands in the new `node.yaml`. Of several addresses of the authority, the one it was just
/// reached at is the likeliest.
fn settings(grant: &Grant, reached: &str) -> Template {
    let mut template = Template::new(grant.network.clone(), grant.node.clone());
    let host_of = |address: &str| address.rsplit_once(':').map(|(host, _)| host.to_owned());
    let near = |address: &&String| host_of(address) == host_of(reached);
    for KnownPeer { node, addresses } in &grant.peers {
        let is_there = *node == NodeName::authority();
        let best = addresses.iter().find(|at| is_there && near(at)).or_else(|| addresses.first());
        let Some(best) = best.filter(|_| *node != grant.node) else { continue };
        template.peers.push((node.clone(), best.clone()));
    }
    template.authority.clone_from(&grant.authority);
    if !template.authority.iter().any(|known| known == reached) {
        template.authority.insert(0, reached.to_owned());
        template.authority.truncate(shared::limits::JOIN_ADDRESSES_MAX);
    }
    template
}
