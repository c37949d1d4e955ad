//! The servers of time under load, each a process of its own, ended by its id.
//!
//! **Invariant:** a server does not outlive its [`Server`].

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ca_tool::Enrolment;
use rustix::process::{Pid, Signal};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use shared::name::{Label, NodeName};

use super::wire::Place;
use crate::handshake::stranger;
use crate::harness::number;
use crate::mesh::write_bundle_of;
use crate::mqtt::find;
use crate::start::peer_program;
use crate::world::{NETWORK, World};

/// How long a server may take until it listens, or ends.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// What makes chronyd tell this machine's clock as it is.
pub(crate) const LOCAL: &str = "local stratum 1";

/// Where servers are started: a network, and what clients trust.
pub(crate) struct Stage {
    world: World,
    config: Arc<ClientConfig>,
    pub(crate) peer: PathBuf,
}

/// A node that is to be started.
struct Node {
    folder: PathBuf,
    name: ServerName<'static>,
    exchange: SocketAddr,
    time: SocketAddr,
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    /// Where keys are exchanged.
    pub(crate) exchange: SocketAddr,
    pub(crate) name: ServerName<'static>,
    pub(crate) config: Arc<ClientConfig>,
    /// Where the time is asked for.
    pub(crate) time: SocketAddr,
    /// Its bundle.
    pub(crate) folder: PathBuf,
    /// Where peers reach it, if it is one of ours.
    link: Option<String>,
    /// Held open: a daemon that cannot write its lines would end.
    _stdout: Option<BufReader<ChildStdout>>,
}

impl Stage {
    /// Makes the network.
    pub(crate) fn new() -> Result<Self> {
        let world = World::new()?;
        let mut config = ClientConfig::clone(&*stranger(&world, &world.node("asker")?)?);
        config.alpn_protocols = vec![nts::export::ALPN.to_vec()];
        Ok(Self { world, config: Arc::new(config), peer: peer_program()? })
    }

    /// A node that may vouch for the time, with its bundle and two addresses for it.
    fn node(&self, name: &str, place: &Place) -> Result<Node> {
        let mut wish = Enrolment::new(NodeName::parse(name)?)?;
        wish.roles.insert(Label::parse("time-root")?);
        let folder = write_bundle_of(&self.world, &wish)?;
        let name = ServerName::try_from(format!("{name}.{NETWORK}"))?;
        // Ports that are free here are free in a namespace of its own.
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        let ip: IpAddr = place.address.parse()?;
        let at = |port| SocketAddr::new(ip, port);
        let (exchange, time) = (at(tcp.local_addr()?.port()), at(udp.local_addr()?.port()));
        Ok(Node { folder, name, exchange, time })
    }

    /// Our own: the program `peer`, which tells the time, with more settings of `time:` and another
    /// one that it knows.
    pub(crate) fn ours(
        &self,
        (name, place): (&str, &Place),
        more: &str,
        known: Option<&Server>,
    ) -> Result<Server> {
        let node = self.node(name, place)?;
        let file = node.folder.join("node.yaml");
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        let (time, exchange) = (node.time, node.exchange);
        let doors = format!("listen: \"{time}\", ke: \"{exchange}\"");
        let ours = format!("time: {{{doors}, client-certificates: none, {more}}}\n");
        std::fs::write(file, before + &ours)?;
        let mut command = place.command(&self.peer);
        let listen = format!("{}:0", place.address);
        command.arg("run").arg(&node.folder).args(["--listen", &listen]);
        if let Some(link) = known.and_then(|server| server.link.as_ref()) {
            command.args(["--peer", link]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut line = String::new();
        let read = stdout.read_line(&mut line);
        let mut server = self.server(child, node);
        read?;
        let words = line.split("listens on ").nth(1).and_then(|rest| rest.split(' ').next());
        let address = words.with_context(|| format!("peer run said {line:?}"))?;
        server.link = Some(format!("{name}={}", address.trim().trim_end_matches([',', '.'])));
        server._stdout = Some(stdout);
        if place.is_apart() { Ok(server) } else { server.listening() }
    }

    /// chronyd, which is not to touch this machine's clock, and the line of settings that says what
    /// it tells; or nothing where it is not there.
    pub(crate) fn chrony(
        &self,
        (name, place): (&str, &Place),
        rests_on: &str,
    ) -> Result<Option<Server>> {
        let Some(program) = find("chronyd") else { return Ok(None) };
        let node = self.node(name, place)?;
        let at = node.folder.display();
        let text = format!(
            "{rests_on}\nallow\nbindaddress {}\nport {}\n\
             ntsport {}\nntsserverkey {at}/id/node.key\nntsservercert {at}/id/node.crt\n\
             ntsdumpdir {at}\ncmdport 0\nbindcmdaddress /\npidfile {at}/chrony.pid\n",
            place.address,
            node.time.port(),
            node.exchange.port(),
        );
        let config = node.folder.join("chrony.conf");
        std::fs::write(&config, text)?;
        let mut command = place.command(program);
        command.args(["-x", "-d", "-U", "-u", "root", "-f"]).arg(config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = self.server(command.spawn()?, node);
        if place.is_apart() { Ok(Some(server)) } else { server.listening().map(Some) }
    }

    /// One of ours that vouches for this machine's clock, and chronyd.
    pub(crate) fn rivals(&self) -> Result<(Server, Option<Server>)> {
        let here = Place::here();
        Ok((
            self.ours(("ours", &here), "local: true", None)?,
            self.chrony(("chrony", &here), LOCAL)?,
        ))
    }

    fn server(&self, child: Child, node: Node) -> Server {
        let Node { folder, name, exchange, time } = node;
        let config = Arc::clone(&self.config);
        Server { child, exchange, name, config, time, folder, link: None, _stdout: None }
    }
}

impl Server {
    fn listening(mut self) -> Result<Self> {
        let since = Instant::now();
        while TcpStream::connect(self.exchange).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("a server of time ended before it listened: {status}");
            }
            if since.elapsed() > PATIENCE {
                bail!("a server of time does not listen after {PATIENCE:?}");
            }
            std::thread::sleep(LOOK);
        }
        Ok(self)
    }

    /// Processor time that each of its threads has taken, in nanoseconds.
    pub(crate) fn threads_ns(&self) -> Result<BTreeMap<u32, u64>> {
        threads_ns(self.child.id())
    }

    /// Processor time that it and its helpers have taken, in seconds.
    pub(crate) fn processor_s(&self) -> Result<f64> {
        let own = self.child.id();
        let mut taken_ns: u64 = threads_ns(own)?.values().sum();
        for id in numbers_in("/proc")? {
            // A process may end between the listing and the look; a helper under load does not.
            if parent_of(id).is_ok_and(|parent| parent == own) {
                taken_ns += threads_ns(id)?.values().sum::<u64>();
            }
        }
        Ok(usize::try_from(taken_ns).map_or(f64::NAN, number) / 1e9)
    }
}

/// Processor time of each thread of a process, in nanoseconds: the kernel's ticks of 10 ms would be
/// a percent of a round.
fn threads_ns(process: u32) -> Result<BTreeMap<u32, u64>> {
    let folder = format!("/proc/{process}/task");
    let mut threads = BTreeMap::new();
    for id in numbers_in(&folder)? {
        // A thread may end between the listing and the look.
        let Ok(text) = std::fs::read_to_string(format!("{folder}/{id}/schedstat")) else {
            continue;
        };
        threads.insert(id, text.split(' ').next().context("an empty schedstat")?.parse()?);
    }
    Ok(threads)
}

fn parent_of(id: u32) -> Result<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("no name in stat")?;
    Ok(fields.split(' ').nth(1).context("a short stat")?.parse()?)
}

/// The names in a folder that are numbers.
fn numbers_in(folder: &str) -> Result<Vec<u32>> {
    let names = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name()));
    let numbers = names.map(|name| Ok(name?.to_str().and_then(|name| name.parse().ok())));
    numbers.filter_map(Result::transpose).collect()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM);
        let since = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && since.elapsed() < PATIENCE {
            std::thread::sleep(LOOK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
