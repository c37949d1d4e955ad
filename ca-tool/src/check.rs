//! The peers' own verifier as a question: would a peer take this certificate, now, for this?
//!
//! The chain goes through [`shared::verify::Verifier`] exactly as in a handshake. RFC 5280 CRLs,
//! which peers do not use among themselves, are checked here with the same strictness: wherever
//! revocation was to be looked at and cannot be, the answer is no.
//!
//! **Invariant:** with CRLs given, nothing is accepted whose issuer is not covered by a valid one.

use std::collections::BTreeMap;
use std::path::Path;

use host::files;
use shared::cert::{CaCert, CrlError, NodeCert, Usage, VerifiedCrl};
use shared::id::KeyId;
use shared::limits::{ANCHORS_MAX, CERT_FILE_BYTES_MAX, CHAIN_CERTS_MAX, CRL_BYTES_MAX};
use shared::name::{NetworkName, NodeName};
use shared::pem;
use shared::refusal::{Code, Refusal};
use shared::time::Timestamp;
use shared::verify::{Anchors, Member, Verified, Verifier};

use crate::error::CaError;

/// CRLs in one file: one for each authority of a chain, old and new, and room.
const CRLS_MAX: usize = 16;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Trusted roots.
    pub roots: &'a Path,
    /// Certificates between.
    pub intermediates: Option<&'a Path>,
    /// CRLs.
    pub crls: Option<&'a Path>,
    /// The certificate.
    pub leaf: &'a Path,
    /// For what.
    pub usage: Usage,
    /// Whose it should be.
    pub node: &'a NodeName,
    /// In which network; the certificate's own unless given.
    pub network: Option<&'a NetworkName>,
    /// At which moment.
    pub at: Timestamp,
}

/// Answers.
///
/// # Errors
/// Files that cannot be read or hold nothing of the kind; a refusal is an `Ok(Err(…))`.
pub fn answer(question: &Question<'_>) -> Result<Result<Verified<Member>, Refusal>, CaError> {
    let roots = certificates(question.roots, ANCHORS_MAX)?;
    let above = match question.intermediates {
        Some(path) => certificates(path, CHAIN_CERTS_MAX)?,
        None => Vec::new(),
    };
    let leaf_file = files::read_bounded(question.leaf, CERT_FILE_BYTES_MAX)?;
    let crls = match question.crls {
        Some(path) => Some(files::read_bounded(path, CRL_BYTES_MAX)?),
        None => None,
    };
    let mut chain = match pem::certificates(&leaf_file, CHAIN_CERTS_MAX) {
        Ok(chain) => chain,
        Err(error) => return Ok(Err(Refusal::new(Code::Malformed, error.to_string()))),
    };
    for der in above {
        if !chain.contains(&der) {
            chain.push(der);
        }
    }
    let network = match question.network {
        Some(network) => network.clone(),
        None => match own_network(&chain) {
            Ok(network) => network,
            Err(refusal) => return Ok(Err(refusal)),
        },
    };
    let anchors = Anchors::new(network, &roots)?;
    Ok(judge(question, &chain, anchors, crls.as_deref()))
}

fn certificates(path: &Path, max: usize) -> Result<Vec<Vec<u8>>, CaError> {
    let bytes = files::read_bounded(path, CERT_FILE_BYTES_MAX)?;
    pem::certificates(&bytes, max)
        .map_err(|error| CaError::Content { path: path.to_owned(), what: error.to_string() })
}

/// The network a leaf names itself; the verifier says what is wrong with one that names none.
fn own_network(chain: &[Vec<u8>]) -> Result<NetworkName, Refusal> {
    let leaf = chain.first().map_or(&[][..], Vec::as_slice);
    NodeCert::read(leaf).map(|cert| cert.network).map_err(|error| {
        let code = match error {
            shared::cert::CertError::Shape(_) => Code::WrongUsage,
            shared::cert::CertError::Key(_) => Code::ForeignAuthority,
            _ => Code::Malformed,
        };
        Refusal::new(code, error.to_string())
    })
}

fn judge(
    question: &Question<'_>,
    chain: &[Vec<u8>],
    anchors: Anchors,
    crls: Option<&[u8]>,
) -> Result<Verified<Member>, Refusal> {
    let authorities: Vec<CaCert> = anchors
        .roots()
        .cloned()
        .chain(chain.iter().filter_map(|der| CaCert::read(der).ok()))
        .collect();
    let slices: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    let verifier = Verifier::new(anchors);
    let member = verifier.admit(&slices, question.usage, Some(question.node), question.at)?;
    if let Some(bytes) = crls {
        let lists = read_crls(bytes, &authorities, question.at)?;
        ask_crls(&member, &lists)?;
    }
    Ok(member)
}

/// One checked list for each authority: of two numbers the higher.
fn read_crls(
    bytes: &[u8],
    authorities: &[CaCert],
    now: Timestamp,
) -> Result<BTreeMap<KeyId, VerifiedCrl>, Refusal> {
    let refuse = |detail: String| Refusal::new(Code::ForeignAuthority, detail);
    let ders = pem::crls(bytes, CRLS_MAX)
        .map_err(|error| refuse(format!("the CRL file {error}, so nobody's status is known")))?;
    let mut lists: BTreeMap<KeyId, (VerifiedCrl, Vec<u8>)> = BTreeMap::new();
    for der in ders {
        let list = check_crl(&der, authorities, now)?;
        let known = lists.get(&list.issuer);
        if known.is_some_and(|(old, bytes)| old.number == list.number && *bytes != der) {
            let number = shared::id::hex(&list.number);
            return Err(refuse(format!("two different CRLs have the number {number}")));
        }
        if known.is_none_or(|(old, _)| is_higher(&list.number, &old.number)) {
            lists.insert(list.issuer, (list, der));
        }
    }
    Ok(lists.into_iter().map(|(issuer, (list, _))| (issuer, list)).collect())
}

fn check_crl(der: &[u8], authorities: &[CaCert], now: Timestamp) -> Result<VerifiedCrl, Refusal> {
    let mut worst = CrlError::WrongSigner;
    for authority in authorities {
        match VerifiedCrl::check(der, authority, now) {
            Ok(list) => return Ok(list),
            Err(CrlError::WrongSigner) => {}
            Err(error) => worst = error,
        }
    }
    let code = match worst {
        CrlError::Stale => Code::Expired,
        CrlError::FromTheFuture { .. } => Code::NotYetValid,
        _ => Code::ForeignAuthority,
    };
    Err(Refusal::new(code, worst.to_string()))
}

/// Numbers are big-endian and without leading zeros.
fn is_higher(new: &[u8], old: &[u8]) -> bool {
    (new.len(), new) > (old.len(), old)
}

/// Looks at every certificate of the chain whose issuer has a list; the leaf's issuer must.
fn ask_crls(member: &Member, lists: &BTreeMap<KeyId, VerifiedCrl>) -> Result<(), Refusal> {
    let leaf = &member.ids.leaf;
    if !lists.contains_key(&leaf.issuer) {
        let detail = "no CRL of the certificate's issuer was given, so its status is unknown";
        return Err(Refusal::new(Code::ForeignAuthority, detail));
    }
    let above = member.ids.issuers.iter().map(|(issuer, serial, _)| (issuer, serial));
    for (issuer, serial) in above.chain([(&leaf.issuer, &leaf.serial)]) {
        let Some((at, on_hold)) = lists.get(issuer).and_then(|list| list.revoked(serial)) else {
            continue;
        };
        let (code, word) = if on_hold {
            (Code::Suspended, "is on hold since")
        } else {
            (Code::Revoked, "was revoked at")
        };
        return Err(Refusal::new(code, format!("certificate {serial} {word} {at}")));
    }
    Ok(())
}
