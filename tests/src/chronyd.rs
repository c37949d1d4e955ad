//! chrony's server as another opinion, unpacked and never installed: it gives the time that the
//! system's clock shows, and sees no way to set it.
//!
//! It runs with `-x` and, where there is `setpriv`, without the capability.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::adversary::Credentials;
use crate::judge::judge;
use crate::ports::free_port;
use crate::{SOON, wait_until};

/// A running server, ended by its own id.
pub struct Chronyd {
    child: Child,
    address: Ipv4Addr,
    port: u16,
    exchange: Option<u16>,
}

impl Chronyd {
    /// Starts one on an address of this machine; with credentials it speaks NTS too. None, if there
    /// is no chrony.
    ///
    /// # Panics
    /// If it does not answer.
    #[must_use]
    pub fn start(folder: &Path, address: Ipv4Addr, nts: Option<&Credentials>) -> Option<Self> {
        let program = judge(&["chronyd"])?;
        let (port, exchange) = (free_port(), free_port());
        let stem = folder.join(format!("chrony-{}", address.octets()[3]));
        let mut text = format!(
            "local stratum 3\nallow 127.0.0.0/8\nbindaddress {address}\nport {port}\n\
             cmdport 0\nbindcmdaddress /\npidfile {}.pid\n",
            stem.display()
        );
        if let Some(credentials) = nts {
            let chain = credentials.chain.iter().map(|der| shared::pem::encode("CERTIFICATE", der));
            let chain: String = chain.map(|pem| pem.to_string()).collect();
            let key = shared::pem::encode("PRIVATE KEY", &credentials.key);
            let (at, key_at) = (stem.with_extension("crt"), stem.with_extension("key"));
            std::fs::write(&at, chain).unwrap();
            std::fs::write(&key_at, key.as_bytes()).unwrap();
            text += &format!(
                "ntsport {exchange}\nntsserverkey {}\nntsservercert {}\n",
                key_at.display(),
                at.display()
            );
        }
        let conf = stem.with_extension("conf");
        std::fs::write(&conf, text).unwrap();
        let child = command(&program, &conf).arg("-d").spawn().unwrap();
        let server = Self { child, address, port, exchange: nts.map(|_| exchange) };
        wait_until("chrony answers", SOON, || server.answers());
        Some(server)
    }

    /// Where it is asked, `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.address, self.port)
    }

    /// Where it exchanges keys.
    ///
    /// # Panics
    /// If it speaks no NTS.
    #[must_use]
    pub fn exchange(&self) -> String {
        format!("{}:{}", self.address, self.exchange.unwrap())
    }

    fn answers(&self) -> bool {
        let door = self.exchange.is_none_or(|port| {
            let at = (self.address, port).into();
            TcpStream::connect_timeout(&at, Duration::from_secs(1)).is_ok()
        });
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut question = [0; 48];
        question[0] = 0x23;
        door && socket.send_to(&question, (self.address, self.port)).is_ok()
            && socket.recv(&mut question).is_ok()
    }
}

/// A chrony that asks others, ended by its own id; its client tells what it thinks of them.
pub struct Asking {
    child: Child,
    client: PathBuf,
    commands: u16,
}

impl Asking {
    /// Starts one that asks these, `HOST:PORT` each. None, if there is no chrony.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(folder: &Path, servers: &[String]) -> Option<Self> {
        let (program, client) = (judge(&["chronyd"])?, judge(&["chronyc"])?);
        let commands = free_port();
        let stem = folder.join("chrony-asking");
        let server = |server: &String| {
            let (host, port) = server.split_once(':').unwrap();
            format!("server {host} port {port} iburst minpoll 0 maxpoll 1\n")
        };
        let servers: String = servers.iter().map(server).collect();
        let text = format!(
            "{servers}port 0\ncmdport {commands}\nbindcmdaddress 127.0.0.1\n\
             bindcmdaddress /\npidfile {}.pid\n",
            stem.display()
        );
        let conf = stem.with_extension("conf");
        std::fs::write(&conf, text).unwrap();
        let child = command(&program, &conf).arg("-d").spawn().unwrap();
        Some(Self { child, client, commands })
    }

    /// How it marks each source, by the address: `*`, `+`, `-`, `x`, `~` or `?`.
    ///
    /// # Panics
    /// If its client cannot be started.
    #[must_use]
    pub fn marks(&self) -> BTreeMap<String, String> {
        let columns = self.ask("sources").into_iter().filter(|columns| columns.len() > 2);
        columns.map(|columns| (columns[2].clone(), columns[1].clone())).collect()
    }

    /// How far its clock is ahead of the system's, and the round trip to its source, in ns; unknown
    /// while it follows nobody.
    ///
    /// # Panics
    /// If its client cannot be started, or says something else.
    #[must_use]
    pub fn ahead_ns(&self) -> Option<(i64, i64)> {
        let said = self.ask("tracking");
        let columns = said.first().filter(|columns| columns.len() > 13)?;
        let ns = |text: &String| (text.parse::<f64>().unwrap() * 1e9) as i64;
        (columns[13] != "Not synchronised").then(|| (ns(&columns[4]), ns(&columns[10])))
    }

    /// What its client says, in columns.
    fn ask(&self, what: &str) -> Vec<Vec<String>> {
        let port = self.commands.to_string();
        let mut client = Command::new(&self.client);
        let said = client.args(["-h", "127.0.0.1", "-p", &port, "-n", "-c", what]).output();
        let said = String::from_utf8(said.unwrap().stdout).unwrap();
        said.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Chronyd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(program: &Path, conf: &Path) -> Command {
    let mut words = vec![program.display().to_string()];
    if Path::new("/usr/bin/setpriv").exists() {
        words.splice(0..0, ["setpriv", "--bounding-set=-sys_time"].map(str::to_owned));
    }
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["-x", "-U", "-u", "root", "-f"]).arg(conf);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
