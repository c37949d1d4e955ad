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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::{Authority, Enrolment, Holder, Init};
    use crate::bundle;
    use shared::cert::{CrlDraft, CrlEntry};
    use shared::feed::Reason;
    use shared::id::Serial;
    use shared::key::{Algorithm, PrivateKey};
    use std::path::PathBuf;

    struct Place {
        folder: tempfile::TempDir,
        authority: Authority,
        serial: Serial,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state");
            let network = NetworkName::parse("mesh.example").unwrap();
            Authority::init(&path, &Init::new(network, Algorithm::P256, None)).unwrap();
            let authority = Authority::open(&path, || unreachable!("no passphrase")).unwrap();
            let key = PrivateKey::generate(Algorithm::P256).unwrap();
            let wish = Enrolment::new(NodeName::parse("alice").unwrap()).unwrap();
            let issued = authority.enroll(&wish, Holder::Private(&key)).unwrap();
            let place = Self { folder, authority, serial: issued.serial };
            place.put("leaf", bundle::chain_pem(&issued.chain).as_bytes());
            place.put("roots", place.authority.trust_pem().as_bytes());
            place
        }

        fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        }

        fn crl(&self, number: u64, revoked: Option<Reason>, age_s: i64) -> String {
            let this_update = self.authority.now().plus_s(-age_s);
            let entry = |reason| CrlEntry { serial: self.serial, at: this_update, reason };
            let draft = CrlDraft {
                number,
                this_update,
                next_update: this_update.plus_s(3_600),
                entries: revoked.map(entry).into_iter().collect(),
            };
            let der = self.authority.signer().sign_crl(&draft).unwrap();
            pem::encode(pem::X509_CRL, &der).to_string()
        }

        fn ask(&self, change: impl FnOnce(&mut Asked)) -> Result<(), Code> {
            let mut asked = Asked {
                leaf: self.folder.path().join("leaf"),
                crls: None,
                usage: Usage::Client,
                node: "alice",
                network: None,
                at: self.authority.now(),
            };
            change(&mut asked);
            let crls = asked.crls.map(|text| self.put("crls", text.as_bytes()));
            let roots = self.folder.path().join("roots");
            let node = NodeName::parse(asked.node).unwrap();
            let network = asked.network.map(|text| NetworkName::parse(text).unwrap());
            let question = Question {
                roots: &roots,
                intermediates: None,
                crls: crls.as_deref(),
                leaf: &asked.leaf,
                usage: asked.usage,
                node: &node,
                network: network.as_ref(),
                at: asked.at,
            };
            answer(&question).unwrap().map(drop).map_err(|refusal| refusal.code)
        }
    }

    struct Asked {
        leaf: PathBuf,
        crls: Option<String>,
        usage: Usage,
        node: &'static str,
        network: Option<&'static str>,
        at: Timestamp,
    }

    #[test]
    fn a_member_is_accepted_for_either_usage() {
        let place = Place::new();
        for usage in [Usage::Client, Usage::Server] {
            assert_eq!(place.ask(|q| q.usage = usage), Ok(()));
        }
        assert_eq!(place.ask(|q| q.network = Some("mesh.example")), Ok(()));
    }

    #[test]
    fn each_wrong_thing_has_its_code() {
        let place = Place::new();
        let week = 7 * 86_400;
        assert_eq!(place.ask(|q| q.at = q.at.plus_s(week + 1)), Err(Code::Expired));
        assert_eq!(place.ask(|q| q.at = q.at.plus_s(-301)), Err(Code::NotYetValid));
        assert_eq!(place.ask(|q| q.node = "bob"), Err(Code::WrongName));
        assert_eq!(place.ask(|q| q.network = Some("other.example")), Err(Code::WrongNetwork));
        let issuing = place.authority.layout().issuing_cert();
        assert_eq!(place.ask(|q| q.leaf = issuing), Err(Code::WrongUsage));
        let identity = place.authority.layout().identity_cert();
        let as_server = place.ask(|q| {
            (q.leaf, q.node, q.usage) = (identity, "authority", Usage::Server);
        });
        assert_eq!(as_server, Ok(()), "it serves, and dials");
        let garbage = place.put("garbage", b"no certificate");
        assert_eq!(place.ask(|q| q.leaf = garbage), Err(Code::Malformed));
        let other = Place::new();
        let stranger = other.folder.path().join("leaf");
        assert_eq!(place.ask(|q| q.leaf = stranger), Err(Code::ForeignAuthority));
    }

    #[test]
    fn a_missing_file_is_an_error_and_no_verdict() {
        let place = Place::new();
        let (roots, leaf) = (place.folder.path().join("none"), place.folder.path().join("leaf"));
        let node = NodeName::parse("alice").unwrap();
        let at = place.authority.now();
        let (intermediates, crls, network, usage) = (None, None, None, Usage::Client);
        let (roots, leaf, node) = (&roots, &leaf, &node);
        let asked = Question { roots, intermediates, crls, leaf, usage, node, network, at };
        assert!(matches!(answer(&asked), Err(CaError::File(_))));
    }

    #[test]
    fn crls_decide_and_what_is_no_crl_refuses() {
        let place = Place::new();
        let with = |text: String| place.ask(|q| q.crls = Some(text));
        assert_eq!(with(place.crl(1, None, 0)), Ok(()));
        assert_eq!(with(place.crl(1, Some(Reason::KeyCompromise), 0)), Err(Code::Revoked));
        assert_eq!(with(place.crl(1, Some(Reason::CertificateHold), 0)), Err(Code::Suspended));
        assert_eq!(with(place.crl(1, None, 3_601)), Err(Code::Expired), "stale");
        assert_eq!(with(place.crl(1, None, -301)), Err(Code::NotYetValid), "from the future");
        assert_eq!(with(String::new()), Err(Code::ForeignAuthority), "empty");
        assert_eq!(with(place.authority.trust_pem()), Err(Code::ForeignAuthority), "no CRL in it");
        let other = Place::new().crl(1, None, 0);
        assert_eq!(with(other.clone()), Err(Code::ForeignAuthority), "another signer");
        let both = place.crl(1, None, 0) + &other;
        assert_eq!(with(both), Err(Code::ForeignAuthority), "one that fails refuses all");
    }

    #[test]
    fn of_two_crls_the_higher_counts_and_twins_refuse() {
        let place = Place::new();
        let with = |text: String| place.ask(|q| q.crls = Some(text));
        let clean = |number| place.crl(number, None, 0);
        let revoking = |number| place.crl(number, Some(Reason::Unspecified), 0);
        assert_eq!(with(revoking(255) + &clean(256)), Ok(()));
        assert_eq!(with(clean(255) + &revoking(256)), Err(Code::Revoked));
        assert_eq!(with(revoking(256) + &clean(255)), Err(Code::Revoked));
        assert_eq!(with(clean(7) + &revoking(7)), Err(Code::ForeignAuthority));
        let same = clean(7);
        assert_eq!(with(same.clone() + &same), Ok(()), "the very same twice");
    }

    #[test]
    fn the_authoritys_own_crl_follows_its_acts() {
        let place = Place::new();
        let alice = NodeName::parse("alice").unwrap();
        let now = || {
            let der = place.authority.crl_der().unwrap();
            place.ask(|q| q.crls = Some(pem::encode(pem::X509_CRL, &der).to_string()))
        };
        assert_eq!(now(), Ok(()));
        place.authority.suspend(&alice).unwrap();
        assert_eq!(now(), Err(Code::Suspended));
        place.authority.resume(&alice).unwrap();
        assert_eq!(now(), Ok(()));
        place.authority.revoke(&alice, Reason::Superseded).unwrap();
        assert_eq!(now(), Err(Code::Revoked));
    }
}
