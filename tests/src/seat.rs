//! Peers as parts of the test's own program, among them the authority's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ca_tool::Authority;
use peer::bundle::Bundle;
use peer::daemon::{Daemon, FindBy, Start};
use shared::name::NodeName;
use shared::pem;

use crate::network::Network;

/// Starts an enrolled node's peer in this program.
///
/// # Panics
/// If it does not start.
pub async fn start(bundle: &Path, listen: &str, known: &[(NodeName, String)]) -> Daemon {
    begin(Bundle::open(bundle).unwrap(), listen, known).await
}

/// Starts the peer of the authority in this program; its key is nowhere in the clear on the disk.
///
/// # Panics
/// If it does not start.
pub async fn start_authority(
    network: &Network,
    authority: &Authority,
    known: &[(NodeName, String)],
) -> Daemon {
    let folder = network.path().join("seat");
    if !folder.exists() {
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        let name = authority.network();
        let yaml = format!("network: {name}\nnode: authority\nlisten: none\nlan: off\n");
        fs::write(folder.join("node.yaml"), yaml).unwrap();
        let text = |der: &Vec<u8>| pem::encode(pem::CERTIFICATE, der).to_string();
        let roots: String = authority.trust_der().iter().map(text).collect();
        fs::write(folder.join("trust.pem"), roots).unwrap();
        fs::write(folder.join("feed"), authority.feed_file().unwrap()).unwrap();
    }
    let identity = authority.identity().unwrap();
    let boot = identity.boot;
    let identity = tls::Identity { chain: identity.chain, key: identity.key };
    begin(Bundle::open_as(&folder, identity, boot).unwrap(), "none", known).await
}

async fn begin(bundle: Bundle, listen: &str, known: &[(NodeName, String)]) -> Daemon {
    let lock = bundle.lock().unwrap();
    let finding = FindBy { no_lan: true, ..FindBy::default() };
    let (listen, peers) = (Some(listen.to_owned()), known.to_vec());
    let on_listening = Box::new(|_| {});
    let mqtt = peer::config::MqttDoors::default();
    let time = peer::config::TimeDoors::default();
    let start = Start { bundle, lock, listen, peers, finding, mqtt, time, on_listening };
    Daemon::start(start).await.unwrap()
}
