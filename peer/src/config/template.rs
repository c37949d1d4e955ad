//! `node.yaml` for a new bundle, with its explanations.

use std::fmt;

use peer_core::limits::FULL_MESH;
use shared::name::{NetworkName, NodeName};

/// What a new `node.yaml` says; its text is what it displays as.
#[derive(Debug, Clone)]
pub struct Template {
    /// The network.
    pub network: NetworkName,
    /// The node.
    pub node: NodeName,
    /// Where it listens, instead of on any free port.
    pub listen: Option<String>,
    /// Peers it dials: name and `HOST:PORT`.
    pub peers: Vec<(NodeName, String)>,
    /// Addresses it dials without knowing whose they are.
    pub seeds: Vec<String>,
    /// Where the authority answers at its door.
    pub authority: Vec<String>,
}

impl Template {
    /// A node that knows nobody yet.
    #[must_use]
    pub fn new(network: NetworkName, node: NodeName) -> Self {
        let (peers, seeds, authority) = (Vec::new(), Vec::new(), Vec::new());
        Self { network, node, listen: None, peers, seeds, authority }
    }

    fn peers(&self) -> String {
        let line = |(name, at): &(NodeName, String)| format!("\n  {name}: \"{at}\"");
        let lines: String = self.peers.iter().map(line).collect();
        if lines.is_empty() {
            return " {}          # for example  alice: \"192.0.2.7:7400\"".to_owned();
        }
        lines
    }
}

fn list(addresses: &[String]) -> String {
    let quoted: Vec<String> = addresses.iter().map(|at| format!("\"{at}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, node, .. } = self;
        let listen = self.listen.as_deref().unwrap_or("0.0.0.0:0");
        let (peers, seeds) = (self.peers(), list(&self.seeds));
        let authority = list(&self.authority);
        write!(
            f,
            "# The settings of one node; the only file of this folder to edit by hand.\n\
             # `peer run` reads it at its start and again on SIGHUP.\n\
             network: {network}\n\
             node: {node}\n\
             \n\
             # Where it listens: HOST:PORT. Port 0 takes any free one and tells the peers.\n\
             # `none` listens nowhere: others reach this node through members with the role\n\
             # relay.\n\
             listen: \"{listen}\"\n\
             \n\
             # Peers it dials. One is enough: they tell it of the others.\n\
             peers:{peers}\n\
             \n\
             # Addresses it dials without knowing whose they are, such as  [\"192.0.2.7:7400\"]\n\
             seeds: {seeds}\n\
             \n\
             # Find peers on the local network by multicast DNS, and be found: on, or off, or\n\
             # {{interfaces: [eth0]}}. What is announced says docs/discovery.md.\n\
             lan: on\n\
             \n\
             # Up to so many nodes everybody is linked with everybody; in a larger network each\n\
             # keeps a few links, and one more to whom it talks with. The same on all nodes.\n\
             full-mesh: {FULL_MESH}\n\
             \n\
             # Where `ca-tool serve` answers: a certificate that has ended is renewed there.\n\
             authority: {authority}\n\
             \n\
             # Programs that speak MQTT come in here (docs/mqtt.md): on this machine, or with a\n\
             # certificate from anywhere.\n\
             # mqtt: {{listen: \"127.0.0.1:1883\", tls: \"0.0.0.0:8883\"}}\n\
             # And the same topics at an existing engine:\n\
             # bridge: [{{url: \"mqtts://mq.example:8883\", in: [\"a/#\"], out: [\"b/#\"]}}]\n\
             \n\
             # Tell others the time, chrony too (docs/time.md):\n\
             # time: {{listen: \"0.0.0.0:11123\", ke: \"0.0.0.0:4460\"}}\n\
             \n\
             feed:\n\
             \x20 # When the revocation list is older than the authority promised:\n\
             \x20 # warn (stay connected and say so) or refuse (cut every link).\n\
             \x20 stale: warn\n"
        )
    }
}
