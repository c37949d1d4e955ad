//! A local network of its own: namespaces of the kernel on one switch, made and removed by tests.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Hosts on one switch; removed when dropped.
pub struct Switch {
    name: String,
    hosts: usize,
}

impl Switch {
    /// A switch with so many hosts, 10.99.0.1 and on; `None` without the rights to make one.
    #[must_use]
    pub fn with(hosts: usize) -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let switch = Self { name: format!("cv{}n{number}", std::process::id()), hosts };
        let name = switch.name.clone();
        if !ip(&format!("netns add {name}")) {
            return None;
        }
        let made = ip(&format!("-n {name} link add sw type bridge mcast_snooping 0"))
            && ip(&format!("-n {name} link set sw up"))
            && (0..hosts).all(|host| switch.plug(host));
        made.then_some(switch)
    }

    /// What a program's command line begins with to run on a host.
    #[must_use]
    pub fn inside(&self, host: usize) -> Vec<String> {
        ["ip", "netns", "exec", &self.namespace(host)].map(str::to_owned).to_vec()
    }

    /// A host's address.
    #[must_use]
    pub fn ip_of(&self, host: usize) -> String {
        format!("10.99.0.{}", host + 1)
    }

    /// Gives a host one more address.
    #[must_use]
    pub fn add_address(&self, host: usize, address: &str) -> bool {
        ip(&format!("-n {} addr add {address} dev eth0", self.namespace(host)))
    }

    fn namespace(&self, host: usize) -> String {
        format!("{}h{host}", self.name)
    }

    fn plug(&self, host: usize) -> bool {
        let (switch, space) = (&self.name, self.namespace(host));
        ip(&format!("netns add {space}"))
            && ip(&format!("-n {switch} link add p{host} type veth peer name eth0 netns {space}"))
            && ip(&format!("-n {switch} link set p{host} master sw up"))
            && ip(&format!("-n {space} link set lo up"))
            && ip(&format!("-n {space} addr add {}/24 dev eth0", self.ip_of(host)))
            && ip(&format!("-n {space} link set eth0 up"))
            && ip(&format!("-n {space} route add default dev eth0"))
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for host in 0..self.hosts {
            ip(&format!("netns del {}", self.namespace(host)));
        }
        ip(&format!("netns del {}", self.name));
    }
}

fn ip(line: &str) -> bool {
    let output = Command::new("ip").args(line.split(' ')).output();
    output.is_ok_and(|output| output.status.success())
}
