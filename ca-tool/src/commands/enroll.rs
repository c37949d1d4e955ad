//! `ca-tool enroll` and `ca-tool renew`: certificates, into a bundle or a file.

use std::path::Path;

use ca_tool::bundle::{self, NodeSettings};
use ca_tool::{Authority, CaError, Enrolment, Holder, Issued};
use host::fault::Fault;
use host::files::{self, Mode};
use serde_json::json;
use shared::cert::request::{self, ProvenKey};
use shared::key::PrivateKey;
use shared::limits::CSR_BYTES_MAX;
use shared::pem;

use super::Desk;
use crate::cli::{EnrollArgs, RenewArgs};

/// A request as PEM: base64 takes a third more, and the armour a little.
const CSR_FILE_BYTES_MAX: usize = CSR_BYTES_MAX * 3 / 2;

pub(super) fn enroll(desk: &Desk<'_>, args: &EnrollArgs) -> Result<(), Fault> {
    if args.out.symlink_metadata().is_ok() {
        return Err(CaError::Exists { path: args.out.clone() }.into());
    }
    let request = args.csr.as_deref().map(read_request).transpose()?;
    let authority = desk.authority()?;
    let wish = Enrolment {
        node: args.node.clone(),
        groups: args.groups.iter().cloned().collect(),
        roles: args.roles.iter().cloned().collect(),
        dns: args.dns.clone(),
        ips: args.ip.clone(),
        profile: args.profile.clone(),
        life_s: args.ttl,
    };
    if let Some(key) = request {
        let issued = authority.enroll(&wish, Holder::Proven(&key))?;
        let text = bundle::certificate_file(&authority, &issued)?;
        files::write_new(&args.out, text.as_bytes(), Mode::Public)?;
        let next =
            format!("next, on {0}: peer install {0}.bundle {1}", args.node, args.out.display());
        return told(desk, &issued, &args.out, "enrolled", Some(next));
    }
    let algorithm = match args.algorithm {
        Some(algorithm) => algorithm,
        None => authority.settings()?.algorithm,
    };
    let key = PrivateKey::generate(algorithm).map_err(CaError::from)?;
    let issued = authority.enroll(&wish, Holder::Private(&key))?;
    let settings =
        NodeSettings { listen: args.listen.clone(), peers: args.peer.iter().cloned().collect() };
    bundle::write(&args.out, &authority, &issued, &key, &settings)?;
    let next = format!("next, on {}: peer run {}", args.node, args.out.display());
    told(desk, &issued, &args.out, "enrolled", Some(next))
}

pub(super) fn renew(desk: &Desk<'_>, args: &RenewArgs) -> Result<(), Fault> {
    let request = args.csr.as_deref().map(read_request).transpose()?;
    let place = match &args.out {
        Some(path) => path.clone(),
        None => format!("{}.crt", args.node).into(),
    };
    let is_bundle = place.is_dir();
    if is_bundle {
        bundle::check_is_bundle(&place)?;
    } else if args.new_key && place.symlink_metadata().is_ok() {
        return Err(Fault::usage("a new key needs a bundle to stand in, or a place for a new one")
            .hint(format!("ca-tool renew {0} --new-key --out {0}.bundle", args.node)));
    }
    let authority = desk.authority()?;
    if is_bundle {
        check_owner(&authority, args, &place, request.as_ref())?;
    }
    let fresh = args
        .new_key
        .then(|| PrivateKey::generate(authority.settings()?.algorithm).map_err(CaError::from))
        .transpose()?;
    let holder = match (&fresh, &request) {
        (Some(key), _) => Some(Holder::Private(key)),
        (None, Some(key)) => Some(Holder::Proven(key)),
        (None, None) => None,
    };
    let issued = authority.renew(&args.node, holder)?;
    if is_bundle {
        bundle::renew(&place, &issued, fresh.as_ref())?;
    } else if let Some(key) = &fresh {
        // The bundle was lost, or never written: a new one, to be given its peers by hand.
        bundle::write(&place, &authority, &issued, key, &NodeSettings::default())?;
    } else {
        let text = bundle::certificate_file(&authority, &issued)?;
        files::write_atomic(&place, text.as_bytes(), Mode::Public)?;
    }
    told(desk, &issued, &place, "renewed", None)
}

/// A bundle takes only certificates of its own node and key: any other would leave it unusable.
fn check_owner(
    authority: &Authority,
    args: &RenewArgs,
    place: &Path,
    request: Option<&ProvenKey>,
) -> Result<(), Fault> {
    let path = place.join("id/node.crt");
    let text = files::read_bounded(&path, shared::limits::CERT_FILE_BYTES_MAX)?;
    let chain = pem::certificates(&text, shared::limits::CHAIN_CERTS_MAX).map_err(CaError::from)?;
    let leaf = chain.first().map_or(&[][..], Vec::as_slice);
    let cert = shared::cert::NodeCert::read(leaf).map_err(CaError::from)?;
    if cert.node != args.node || cert.network != *authority.network() {
        let whose = format!("{} is the bundle of {}.{}", place.display(), cert.node, cert.network);
        return Err(Fault::failed(whose).hint("name the bundle of the node that is renewed"));
    }
    let (_, certs) = authority.node(&args.node)?;
    let last = certs.iter().find(|cert| cert.state != "possibly-issued");
    let wanted = request.map_or_else(
        || last.map(|cert| cert.spki.clone()).unwrap_or_default(),
        |key| key.public().spki_hash().to_string(),
    );
    if !args.new_key && wanted != cert.spki.to_string() {
        let what = format!("the key in {} is not the one to be certified", place.display());
        return Err(Fault::failed(what).hint(format!(
            "ca-tool renew {} --new-key --out {}",
            args.node,
            place.display()
        )));
    }
    Ok(())
}

fn read_request(path: &Path) -> Result<ProvenKey, Fault> {
    let bytes = files::read_bounded(path, CSR_FILE_BYTES_MAX)?;
    let refuse = |what: String| {
        Fault::refused(format!("{}: {what}", path.display()))
            .hint("make a request on the node: peer request NAME")
    };
    let der = pem::request(&bytes).map_err(|error| refuse(error.to_string()))?;
    request::read(&der).map_err(|error| refuse(error.to_string()))
}

fn told(
    desk: &Desk<'_>,
    issued: &Issued,
    place: &Path,
    done: &str,
    next: Option<String>,
) -> Result<(), Fault> {
    let value = json!({
        "node": issued.node, "serial": issued.serial.to_string(), "out": place,
        "not_before": issued.not_before, "not_after": issued.not_after,
    });
    let mut lines =
        vec![format!("{} {done}, until {}: {}", issued.node, issued.not_after, place.display())];
    lines.extend(next);
    desk.tell(&value, &lines)
}
