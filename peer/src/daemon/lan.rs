//! The local network: multicast DNS (RFC 6762) and DNS-SD (RFC 6763).
//!
//! Announced is `_conclave._tcp` with a random label that changes with each start, the port, and a
//! tag by which members of the same network know each other: a hash over the label, the network's
//! name and its root certificate. Whoever lacks the root certificate cannot tell which network it
//! is, nor whether two labels are of one machine. docs/discovery.md says so for people.
//!
//! **Invariant:** an answer is only a hint: at most [`ADDRESSES_PER_ANSWER`] addresses of it, only
//! in networks that this machine is attached to, go to the node, which dials within a budget.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use if_addrs::Interface;
use mdns_sd::{IfKind, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use shared::id::{hex, sha256_of};
use shared::verify::{Anchors, Verifier};
use tokio::sync::mpsc;

use super::finding::Finding;
use super::interfaces;
use super::news::News;
use crate::config::Lan;

const SERVICE: &str = "_conclave._tcp.local.";
/// The TXT key of the tags.
const TAGS: &str = "n";
/// Bytes of a tag: enough that two networks on one LAN never share one by chance.
const TAG_BYTES: usize = 8;
/// Addresses taken from one answer: a machine with a wire, a radio and two families.
const ADDRESSES_PER_ANSWER: usize = 4;

/// Our voice and ear on the local network; it falls silent with a goodbye when dropped.
pub(super) struct Neighbourhood {
    mdns: ServiceDaemon,
    answers: mdns_sd::Receiver<ServiceEvent>,
    label: String,
    on: Vec<String>,
    verifier: Arc<Verifier>,
}

impl Neighbourhood {
    /// Announces where we listen and asks who else is there; `None` if that is not wanted, makes no
    /// sense, or cannot be had here.
    pub(super) fn enter(
        choice: &Lan,
        listening: SocketAddr,
        verifier: Arc<Verifier>,
    ) -> Option<Self> {
        let on = match choice {
            Lan::Off => return None,
            Lan::Usual if listening.ip().is_loopback() => return None,
            Lan::Usual => Vec::new(),
            Lan::Interfaces(names) => names.clone(),
        };
        match Self::begin(on, listening, verifier) {
            Ok(begun) => Some(begun),
            Err(error) => {
                tracing::warn!("nobody is looked for on the local network: {error}");
                None
            }
        }
    }

    fn begin(
        on: Vec<String>,
        listening: SocketAddr,
        verifier: Arc<Verifier>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let label = hex(&host::random::bytes::<8>()?);
        let tags = tags(&*verifier.anchors()?, &label).join(",");
        let mdns = ServiceDaemon::new()?;
        choose(&mdns, &on, listening)?;
        let host = format!("{label}.local.");
        let txt = [(TAGS, tags.as_str())];
        let ip = listening.ip();
        let service = if ip.is_unspecified() {
            ServiceInfo::new(SERVICE, &label, &host, "", listening.port(), &txt[..])?
                .enable_addr_auto()
        } else {
            ServiceInfo::new(SERVICE, &label, &host, ip, listening.port(), &txt[..])?
        };
        mdns.register(service)?;
        let answers = mdns.browse(SERVICE)?;
        Ok(Self { mdns, answers, label, on, verifier })
    }

    /// Hands over what others announce, until it is dropped.
    pub(super) async fn listen(self, news: mpsc::Sender<News>) {
        while let Ok(answer) = self.answers.recv_async().await {
            let ServiceEvent::ServiceResolved(service) = answer else { continue };
            let Ok(anchors) = self.verifier.anchors() else { continue };
            let own = service.fullname.starts_with(self.label.as_str());
            let near = interfaces::all();
            let near =
                near.iter().filter(|near| self.on.is_empty() || self.on.contains(&near.name));
            let near: Vec<&Interface> = near.collect();
            let worth = if own { Vec::new() } else { worth_a_dial(&service, &anchors, &near) };
            for address in worth {
                // A busy driver has better to do; whoever is there announces itself again.
                let _ = news.try_send(News::Finding(Finding::Announced(address)));
            }
        }
    }
}

impl Drop for Neighbourhood {
    fn drop(&mut self) {
        let _ = self.mdns.unregister(&format!("{}.{SERVICE}", self.label));
        let _ = self.mdns.shutdown();
    }
}

/// On which interfaces: those that were named, or all but loopback, of the families we listen on.
fn choose(
    mdns: &ServiceDaemon,
    on: &[String],
    listening: SocketAddr,
) -> Result<(), mdns_sd::Error> {
    if on.is_empty() {
        mdns.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
    } else {
        mdns.disable_interface(IfKind::All)?;
        let named = on.iter().map(|name| IfKind::Name(name.clone()));
        mdns.enable_interface(named.collect::<Vec<_>>())?;
    }
    if listening.is_ipv4() {
        mdns.disable_interface(IfKind::IPv6)?;
    }
    Ok(())
}

/// By what members of one network know each other: one tag for each root they may share.
fn tags(anchors: &Anchors, label: &str) -> Vec<String> {
    let network = anchors.network().as_str().as_bytes();
    let tag = |root: &[u8]| {
        let hash = sha256_of(&[b"conclave lan 1", label.as_bytes(), network, root]);
        hex(hash.get(..TAG_BYTES).unwrap_or_default())
    };
    anchors.roots().map(|root| tag(&root.der)).collect()
}

/// The addresses of an answer that are worth a dial: of a member of our network, as far as its tag
/// tells, and on a network that this machine is attached to.
fn worth_a_dial(service: &ResolvedService, anchors: &Anchors, near: &[&Interface]) -> Vec<String> {
    let label = service.fullname.strip_suffix(SERVICE).and_then(|label| label.strip_suffix('.'));
    let ours = tags(anchors, label.unwrap_or_default());
    let theirs = service.get_property_val_str(TAGS).unwrap_or_default();
    if !theirs.split(',').any(|tag| ours.iter().any(|our| our == tag)) {
        return Vec::new();
    }
    let attached = |ip: &IpAddr| near.iter().any(|near| interfaces::is_attached(near, *ip));
    let addresses = service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr);
    let mut found: Vec<IpAddr> = addresses.filter(attached).collect();
    found.sort_unstable();
    found.retain(|ip| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()));
    let socket = |ip| SocketAddr::new(ip, service.port).to_string();
    found.into_iter().take(ADDRESSES_PER_ANSWER).map(socket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Authority;
    use if_addrs::{IfAddr, IfOperStatus, Ifv4Addr};

    fn anchors(authority: &Authority) -> Anchors {
        let root = shared::pem::certificates(authority.trust().as_bytes(), 1).unwrap();
        Anchors::new(authority.network.clone(), &root).unwrap()
    }

    fn eth0() -> Interface {
        let address = Ifv4Addr {
            ip: "10.0.0.7".parse().unwrap(),
            netmask: "255.255.255.0".parse().unwrap(),
            prefixlen: 24,
            broadcast: None,
        };
        Interface {
            name: "eth0".to_owned(),
            addr: IfAddr::V4(address),
            index: Some(2),
            oper_status: IfOperStatus::Up,
            is_p2p: false,
        }
    }

    /// What somebody announces.
    fn answer(label: &str, tag: &str, addresses: &str) -> ResolvedService {
        let (host, txt) = (format!("{label}.local."), [(TAGS, tag)]);
        let service = ServiceInfo::new(SERVICE, label, &host, addresses, 7400, &txt[..]).unwrap();
        service.as_resolved_service()
    }

    #[test]
    fn a_member_on_our_wire_is_worth_a_dial_and_nobody_else() {
        let (ours, theirs) = (Authority::new("mesh.example"), Authority::new("mesh.example"));
        let (ours, theirs) = (anchors(&ours), anchors(&theirs));
        let near = eth0();
        let worth = |service: &ResolvedService| worth_a_dial(service, &ours, &[&near]);
        let [tag] = &tags(&ours, "abc")[..] else { panic!("one root, one tag") };
        assert_eq!(worth(&answer("abc", tag, "10.0.0.8")), ["10.0.0.8:7400"]);
        let foreign = tags(&theirs, "abc").join(",");
        assert!(worth(&answer("abc", &foreign, "10.0.0.8")).is_empty(), "another root");
        assert!(worth(&answer("abd", tag, "10.0.0.8")).is_empty(), "a tag under another label");
        assert!(worth(&answer("abc", "", "10.0.0.8")).is_empty(), "no tag");
        let rotating = format!("{foreign},{tag}");
        assert_eq!(worth(&answer("abc", &rotating, "10.0.0.8")).len(), 1, "two roots, one ours");
    }

    #[test]
    fn third_parties_are_not_dialled_and_one_answer_is_bounded() {
        let ours = anchors(&Authority::new("mesh.example"));
        let near = eth0();
        let worth = |addresses: &str| {
            let tag = tags(&ours, "abc").join(",");
            worth_a_dial(&answer("abc", &tag, addresses), &ours, &[&near])
        };
        assert!(worth("192.0.2.1,10.0.1.8,2001:db8::1,fe80::1,127.0.0.1").is_empty());
        assert_eq!(worth("192.0.2.1,10.0.0.9"), ["10.0.0.9:7400"]);
        let many: Vec<String> = (10..30).map(|n| format!("10.0.0.{n}")).collect();
        assert_eq!(worth(&many.join(",")).len(), ADDRESSES_PER_ANSWER);
    }

    #[test]
    fn an_announcement_names_nobody_and_changes_with_its_label() {
        let ours = anchors(&Authority::new("mesh.example"));
        let [a] = &tags(&ours, "abc")[..] else { panic!("one root, one tag") };
        assert_eq!(a.len(), 2 * TAG_BYTES);
        assert!(a.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_ne!(tags(&ours, "abd")[0], *a);
    }
}
