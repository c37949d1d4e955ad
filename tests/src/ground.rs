//! The ground of the lab: a WAN of two regions, NATs of two kinds, hosts; network namespaces of the
//! kernel that nobody else sees, removed when dropped.
//!
//! The shell around the lab removes by prefix what a killed run leaves.

use std::collections::BTreeMap;
use std::process::Command;

/// What a NAT does with the port that a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// Keeps it: whoever one host sees there, another sees there too.
    Cone,
    /// Takes another one each time.
    Symmetric,
}

/// The namespaces, and where each host is plugged in: the switch's namespace and port.
pub struct Ground {
    prefix: String,
    spaces: Vec<String>,
    plugs: BTreeMap<String, (String, String)>,
}

impl Ground {
    /// Two switches, `near` and `far`, with one cable between them.
    ///
    /// # Panics
    /// If the kernel does not let us.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        let mut ground =
            Self { prefix: prefix.to_owned(), spaces: Vec::new(), plugs: BTreeMap::new() };
        let wan = ground.space("wan");
        for switch in ["near", "far"] {
            run("ip", &format!("-n {wan} link add {switch} type bridge"));
            run("ip", &format!("-n {wan} link set {switch} up"));
        }
        run("ip", &format!("-n {wan} link add cable type veth peer name elbac"));
        run("ip", &format!("-n {wan} link set cable master near up"));
        run("ip", &format!("-n {wan} link set elbac master far up"));
        ground
    }

    /// A host on a switch of the WAN.
    pub fn host(&mut self, name: &str, switch: &str, address: &str) {
        let wan = self.name("wan");
        let space = self.space(name);
        self.plug_in(name, &wan, switch);
        run("ip", &format!("-n {space} addr add {address}/24 dev eth0"));
    }

    /// A NAT between the near switch and a LAN of its own, `10.N.0.0/24`. Unasked-for packets are
    /// dropped.
    pub fn nat(&mut self, name: &str, address: &str, lan: u8, kind: Nat) {
        let wan = self.name("wan");
        let space = self.space(name);
        self.plug_in(name, &wan, "near");
        run("ip", &format!("-n {space} addr add {address}/24 dev eth0"));
        run("ip", &format!("-n {space} link add lan type bridge"));
        run("ip", &format!("-n {space} addr add 10.{lan}.0.1/24 dev lan"));
        run("ip", &format!("-n {space} link set lan up"));
        let how = if kind == Nat::Symmetric { "masquerade fully-random" } else { "masquerade" };
        inside(&space, "sysctl", &["-qw", "net.ipv4.ip_forward=1"]);
        let rules = [
            "add table ip nat".to_owned(),
            "add chain ip nat out { type nat hook postrouting priority 100; }".to_owned(),
            format!("add rule ip nat out oifname eth0 {how}"),
            "add table ip wall".to_owned(),
            "add chain ip wall through { type filter hook forward priority 0; policy drop; }"
                .to_owned(),
            "add rule ip wall through ct state established,related accept".to_owned(),
            "add rule ip wall through iifname lan accept".to_owned(),
            "add chain ip wall to { type filter hook input priority 0; policy accept; }".to_owned(),
            "add rule ip wall to iifname eth0 ct state new drop".to_owned(),
        ]
        .join("\n");
        inside(&space, "nft", &[&rules]);
    }

    /// A host behind a NAT.
    pub fn behind(&mut self, nat: &str, name: &str, address: &str) {
        let outer = self.name(nat);
        let space = self.space(name);
        self.plug_in(name, &outer, "lan");
        run("ip", &format!("-n {space} addr add {address}/24 dev eth0"));
        self.default_route(name, address);
    }

    /// What a program's command line begins with to run on a host.
    #[must_use]
    pub fn inside(&self, host: &str) -> Vec<String> {
        ["ip", "netns", "exec", &self.name(host)].map(str::to_owned).to_vec()
    }

    /// Pulls or puts back the cable between the two switches.
    pub fn cable(&self, state: &str) {
        run("ip", &format!("-n {} link set cable {state}", self.name("wan")));
    }

    /// Pulls or puts back a host's own cable, at the switch: the host does not notice.
    pub fn plug(&self, host: &str, state: &str) {
        let (space, port) = &self.plugs[host];
        run("ip", &format!("-n {space} link set {port} {state}"));
    }

    /// Gives a host behind a NAT another address.
    pub fn readdress(&self, host: &str, old: &str, new: &str) {
        let space = self.name(host);
        run("ip", &format!("-n {space} addr del {old}/24 dev eth0"));
        run("ip", &format!("-n {space} addr add {new}/24 dev eth0"));
        self.default_route(host, new);
    }

    fn default_route(&self, host: &str, address: &str) {
        let (lan, _) = address.rsplit_once('.').unwrap();
        run("ip", &format!("-n {} route add default via {lan}.1", self.name(host)));
    }

    fn space(&mut self, name: &str) -> String {
        let space = self.name(name);
        run("ip", &format!("netns add {space}"));
        run("ip", &format!("-n {space} link set lo up"));
        self.spaces.push(space.clone());
        space
    }

    fn name(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }

    fn plug_in(&mut self, host: &str, outer: &str, switch: &str) {
        let space = self.name(host);
        let port = format!("p{host}");
        run("ip", &format!("-n {outer} link add {port} type veth peer name eth0 netns {space}"));
        run("ip", &format!("-n {outer} link set {port} master {switch} up"));
        run("ip", &format!("-n {space} link set eth0 up"));
        self.plugs.insert(host.to_owned(), (outer.to_owned(), port));
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for space in &self.spaces {
            let _ = Command::new("ip").args(["netns", "del", space]).status();
        }
    }
}

fn inside(space: &str, program: &str, args: &[&str]) {
    let output = Command::new("ip").args(["netns", "exec", space, program]).args(args).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

fn run(program: &str, line: &str) {
    let output = Command::new(program).args(line.split(' ')).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {line}: {said}");
}
