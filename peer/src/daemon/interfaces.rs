//! The interfaces of this machine: which addresses others can dial, and which networks are near.
//!
//! **Invariant:** a loopback address is never told to others, a link-local one only if there is no
//! other, and never more than a presence holds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use if_addrs::{IfAddr, Interface};
use shared::limits::ADDRESSES_MAX;
use tokio::sync::mpsc;

use super::finding::Finding;
use super::news::News;

/// How often the interfaces are looked at: a laptop that changes its network is found again within
/// seconds, and a look costs one system call.
const LOOK: Duration = Duration::from_secs(5);

/// The addresses to tell others: where we listen, or if that is everywhere, every address of this
/// machine that somebody else might reach.
#[must_use]
pub fn advertised(listening: SocketAddr) -> Vec<String> {
    if !listening.ip().is_unspecified() {
        return vec![listening.to_string()];
    }
    let own: Vec<IpAddr> = all().iter().map(Interface::ip).collect();
    reachable(&own, listening)
}

/// Looks again and again, and says when others must be told other addresses.
pub(super) async fn watch(listening: SocketAddr, news: mpsc::Sender<News>) {
    let mut told = advertised(listening);
    loop {
        tokio::time::sleep(LOOK).await;
        let now = advertised(listening);
        if now != told {
            told.clone_from(&now);
            let _ = news.send(News::Finding(Finding::Addresses(now))).await;
        }
    }
}

/// Every interface with an address; none if the system does not say.
pub(super) fn all() -> Vec<Interface> {
    if_addrs::get_if_addrs().unwrap_or_default()
}

/// Whether an address lies in a network that this interface is attached to.
pub(super) fn is_attached(interface: &Interface, ip: IpAddr) -> bool {
    match (&interface.addr, ip) {
        (IfAddr::V4(own), IpAddr::V4(ip)) => {
            let mask = u32::from(own.netmask);
            mask != 0 && u32::from(own.ip) & mask == u32::from(ip) & mask
        }
        (IfAddr::V6(own), IpAddr::V6(ip)) => {
            let mask = u128::from(own.netmask);
            mask != 0 && u128::from(own.ip) & mask == u128::from(ip) & mask
        }
        _ => false,
    }
}

fn reachable(own: &[IpAddr], listening: SocketAddr) -> Vec<String> {
    let both = listening.is_ipv6();
    let near = |ip: &&IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_unspecified(),
        IpAddr::V6(ip) => both && !ip.is_loopback() && !is_link_local_v6(*ip),
    };
    let mut found: Vec<IpAddr> = own.iter().filter(near).copied().collect();
    if found.iter().any(|ip| !is_link_local(*ip)) {
        found.retain(|ip| !is_link_local(*ip));
    }
    found.sort_unstable();
    found.dedup();
    let socket = |ip| SocketAddr::new(ip, listening.port()).to_string();
    found.into_iter().take(ADDRESSES_MAX).map(socket).collect()
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if Ipv4Addr::is_link_local(&ip))
}

/// Not dialled by others at all: it means nothing without the interface it belongs to.
const fn is_link_local_v6(ip: Ipv6Addr) -> bool {
    ip.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn told(own: &[&str], listening: &str) -> Vec<String> {
        reachable(&ips(own), listening.parse().unwrap())
    }

    #[test]
    fn others_are_told_what_they_can_dial() {
        let own = ["127.0.0.1", "::1", "169.254.3.4", "10.0.0.2", "fe80::1", "2001:db8::7"];
        assert_eq!(told(&own, "0.0.0.0:7"), ["10.0.0.2:7"]);
        assert_eq!(told(&own, "[::]:7"), ["10.0.0.2:7", "[2001:db8::7]:7"]);
        assert_eq!(told(&["127.0.0.1", "169.254.3.4"], "0.0.0.0:7"), ["169.254.3.4:7"]);
        assert!(told(&["127.0.0.1"], "0.0.0.0:7").is_empty());
        assert_eq!(advertised("192.0.2.1:7".parse().unwrap()), ["192.0.2.1:7"]);
        let many: Vec<String> = (1..=20).map(|n| format!("10.0.0.{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(told(&many, "0.0.0.0:7").len(), ADDRESSES_MAX);
    }
}
