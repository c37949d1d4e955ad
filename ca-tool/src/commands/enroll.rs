//! `ca-tool enroll` and `ca-tool renew`: certificates, into a bundle or a file.

use std::path::Path;

use ca_tool::ask::client::Door;
use ca_tool::ask::{Certified, Enroll, Facts, NodeOf, Octets, Renew};
use ca_tool::bundle::{self, NodeSettings};
use ca_tool::{CaError, Enrolment};
use host::fault::Fault;
use host::files::{self, Mode};
use peer::bundle::usage_of_app;
use serde_json::json;
use shared::cert::{NodeCert, request};
use shared::join::Grant;
use shared::key::{Algorithm, PrivateKey};
use shared::limits::CSR_BYTES_MAX;
use shared::name::{MemberKind, NodeName};
use shared::pem;

use super::{Desk, say};
use crate::cli::{EnrollArgs, RenewArgs};

/// A request as PEM: base64 takes a third more, and the armour a little.
const CSR_FILE_BYTES_MAX: usize = CSR_BYTES_MAX * 3 / 2;

pub(super) fn enroll(desk: &Desk<'_>, args: &EnrollArgs) -> Result<(), Fault> {
    if args.out.symlink_metadata().is_ok() {
        return Err(CaError::Exists { path: args.out.clone() }.into());
    }
    args.wish.slips().iter().for_each(|slip| say(slip));
    let request = args.csr.as_deref().map(read_request).transpose()?;
    let mut door = desk.door()?;
    let wish = Enrolment { life_s: args.ttl, ..args.wish.wish(&args.node) };
    if let Some(csr) = request {
        let certified = door.ask(Enroll { wish, csr })?;
        let text = bundle::certificate_file(&certified.grant()?);
        files::write_new(&args.out, text.as_bytes(), Mode::Public)?;
        let next =
            format!("next, on {0}: peer install {0}.bundle {1}", args.node, args.out.display());
        return told(desk, &args.node, &certified, &args.out, "enrolled", Some(next));
    }
    let algorithm = match args.algorithm {
        Some(algorithm) => algorithm,
        None => door.ask(Facts)?.algorithm,
    };
    let (key, csr) = make_key(algorithm, &args.node)?;
    let certified = door.ask(Enroll { wish, csr })?;
    let settings =
        NodeSettings { listen: args.listen.clone(), peers: args.peer.iter().cloned().collect() };
    let grant = certified.grant()?;
    bundle::write(&args.out, &grant, &key, &settings)?;
    let next = format!("next, on {}: {}", args.node, next_with(&grant, &args.out)?);
    told(desk, &args.node, &certified, &args.out, "enrolled", Some(next))
}

/// What to type with a new bundle.
fn next_with(grant: &Grant, out: &Path) -> Result<String, Fault> {
    let leaf = grant.chain.first().map_or(&[][..], |der| der);
    Ok(match NodeCert::read(leaf).map_err(CaError::from)?.kind {
        MemberKind::Node => format!("peer run {}", out.display()),
        MemberKind::App => usage_of_app(out),
    })
}

/// A key that stays in this process, and the request that proves it.
fn make_key(algorithm: Algorithm, node: &NodeName) -> Result<(PrivateKey, Octets), Fault> {
    let key = PrivateKey::generate(algorithm).map_err(CaError::from)?;
    let csr = request::make(&key, node.as_str()).map_err(CaError::from)?;
    Ok((key, Octets(csr)))
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
    let mut door = desk.door()?;
    if is_bundle {
        check_owner(&mut door, args, &place, request.as_ref())?;
    }
    let made =
        args.new_key.then(|| make_key(door.ask(Facts)?.algorithm, &args.node)).transpose()?;
    let (fresh, csr) = match made {
        Some((key, csr)) => (Some(key), Some(csr)),
        None => (None, request),
    };
    let certified = door.ask(Renew { node: args.node.clone(), csr })?;
    let grant = certified.grant()?;
    if is_bundle {
        bundle::renew(&place, &grant, fresh.as_ref())?;
    } else if let Some(key) = &fresh {
        // The bundle was lost, or never written: a new one, to be given its peers by hand.
        bundle::write(&place, &grant, key, &NodeSettings::default())?;
    } else {
        let text = bundle::certificate_file(&grant);
        files::write_atomic(&place, text.as_bytes(), Mode::Public)?;
    }
    told(desk, &args.node, &certified, &place, "renewed", None)
}

/// A bundle takes only certificates of its own node and key: any other would leave it unusable.
fn check_owner(
    door: &mut Door,
    args: &RenewArgs,
    place: &Path,
    request: Option<&Octets>,
) -> Result<(), Fault> {
    let path = place.join("id/node.crt");
    let text = files::read_bounded(&path, shared::limits::CERT_FILE_BYTES_MAX)?;
    let chain = pem::certificates(&text, shared::limits::CHAIN_CERTS_MAX).map_err(CaError::from)?;
    let leaf = chain.first().map_or(&[][..], Vec::as_slice);
    let cert = NodeCert::read(leaf).map_err(CaError::from)?;
    if cert.node != args.node || cert.network != door.ask(Facts)?.network {
        let whose = format!("{} is the bundle of {}.{}", place.display(), cert.node, cert.network);
        return Err(Fault::failed(whose).hint("name the bundle of the node that is renewed"));
    }
    let (_, certs) = door.ask(NodeOf(args.node.clone()))?;
    let last = certs.iter().find(|cert| cert.state != "possibly-issued");
    let wanted = match request {
        Some(csr) => {
            let key = request::read(&csr.0).map_err(CaError::from)?;
            key.public().spki_hash().to_string()
        }
        None => last.map(|cert| cert.spki.clone()).unwrap_or_default(),
    };
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

/// A request that proves its key; the authority looks again.
fn read_request(path: &Path) -> Result<Octets, Fault> {
    let bytes = files::read_bounded(path, CSR_FILE_BYTES_MAX)?;
    let refuse = |what: String| {
        Fault::refused(format!("{}: {what}", path.display()))
            .hint("make a request on the node: peer request NAME")
    };
    let der = pem::request(&bytes).map_err(|error| refuse(error.to_string()))?;
    request::read(&der).map_err(|error| refuse(error.to_string()))?;
    Ok(Octets(der))
}

fn told(
    desk: &Desk<'_>,
    node: &NodeName,
    certified: &Certified,
    place: &Path,
    done: &str,
    next: Option<String>,
) -> Result<(), Fault> {
    let Certified { serial, not_before, not_after, .. } = certified;
    let value = json!({
        "node": node, "serial": serial, "out": place,
        "not_before": not_before, "not_after": not_after,
    });
    let mut lines = vec![format!("{node} {done}, until {not_after}: {}", place.display())];
    lines.extend(next);
    desk.tell(&value, &lines)
}
