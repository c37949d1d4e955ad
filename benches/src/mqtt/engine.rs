//! The engines under load, each a process of its own with its own folder, ended by its id.
//!
//! Their configurations are the fastest honest ones: nothing is logged, nothing is thrown away
//! because a queue is full, Nagle's algorithm is off. Mosquitto's and NATS's own rates depend on
//! each of these.
//!
//! **Invariant:** an engine does not outlive its [`Engine`].

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use shared::name::NodeName;

use super::client::Door;
use crate::handshake::stranger;
use crate::mesh::write_bundle;
use crate::start::peer_program;
use crate::world::{NETWORK, World};

/// How long an engine may take until it listens.
const START: Duration = Duration::from_secs(20);
/// How long it may take to end before it is killed.
const END: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// Where Debian has the programs that only root is expected to call.
const SBIN: &str = "/usr/sbin";

/// A running engine.
pub(crate) struct Engine {
    child: Child,
    plain: SocketAddr,
    mutual: Option<(SocketAddr, ServerName<'static>, Arc<ClientConfig>)>,
    /// Where peers reach it, if it is one of ours.
    link: Option<String>,
    /// Held open: a daemon that cannot write its lines would end.
    _stdout: Option<BufReader<ChildStdout>>,
}

/// What an engine shall do besides carrying messages.
#[derive(Clone, Copy)]
pub(crate) enum Task<'a> {
    /// Nothing.
    Carry,
    /// Keep sessions and their messages on disk.
    Keep,
    /// Pass everything on to another Mosquitto.
    Bridge(&'a Engine),
}

/// Where engines are started: a network, a certificate for the clients, and names not yet used.
pub(crate) struct Stage {
    world: World,
    config: Arc<ClientConfig>,
    next: std::cell::Cell<usize>,
    peer: PathBuf,
}

impl Stage {
    /// Makes the network.
    pub(crate) fn new() -> Result<Self> {
        let world = World::new()?;
        let config = stranger(&world, &world.node("meter")?)?;
        Ok(Self { world, config, next: std::cell::Cell::new(0), peer: peer_program()? })
    }

    fn bundle(&self) -> Result<(NodeName, PathBuf)> {
        self.next.set(self.next.get() + 1);
        let name = NodeName::parse(&format!("engine-{}", self.next.get()))?;
        let folder = write_bundle(&self.world, &name)?;
        Ok((name, folder))
    }

    fn mutual(&self, name: &NodeName) -> Result<Mutual> {
        let server = ServerName::try_from(format!("{name}.{NETWORK}"))?;
        Ok((free_address()?, server, Arc::clone(&self.config)))
    }

    /// Our own: the program `peer`, told one other or none.
    pub(crate) fn ours(&self, known: Option<&Engine>) -> Result<Engine> {
        let (name, folder) = self.bundle()?;
        let (plain, mutual) = (free_address()?, self.mutual(&name)?);
        let mut command = Command::new(&self.peer);
        command.arg("run").arg(&folder).args(["--listen", "127.0.0.1:0"]);
        command.args(["--mqtt", &plain.to_string(), "--mqtts", &mutual.0.to_string()]);
        if let Some(link) = known.and_then(|engine| engine.link.as_ref()) {
            command.args(["--peer", link]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut line = String::new();
        let read = stdout.read_line(&mut line);
        let mut engine = Engine::new(child, plain, Some(mutual));
        read?;
        let words = line.split("listens on ").nth(1).and_then(|rest| rest.split(' ').next());
        let address = words.with_context(|| format!("peer run said {line:?}"))?;
        engine.link = Some(format!("{name}={}", address.trim().trim_end_matches([',', '.'])));
        engine._stdout = Some(stdout);
        engine.listening()
    }

    /// Mosquitto, or nothing where it is not installed.
    pub(crate) fn mosquitto(&self, task: Task<'_>) -> Result<Option<Engine>> {
        let Some(program) = find("mosquitto") else { return Ok(None) };
        let (name, folder) = self.bundle()?;
        let (plain, mutual) = (free_address()?, self.mutual(&name)?);
        let file = |name: &str| folder.join(name).display().to_string();
        let (root, chain, key) = (file("trust.pem"), file("id/node.crt"), file("id/node.key"));
        let mut text = format!(
            "user root\nlog_dest none\nset_tcp_nodelay true\n\
             max_inflight_messages 0\nmax_queued_messages 0\n\
             listener {} 127.0.0.1\nallow_anonymous true\n\
             listener {} 127.0.0.1\nallow_anonymous true\nrequire_certificate true\n\
             cafile {root}\ncertfile {chain}\nkeyfile {key}\n",
            plain.port(),
            mutual.0.port(),
        );
        match task {
            Task::Carry => {}
            Task::Keep => {
                text += &format!("persistence true\npersistence_location {}/\n", folder.display());
            }
            Task::Bridge(to) => {
                let (address, ..) = to.mutual.as_ref().context("no TLS there")?;
                text += &format!(
                    "connection onward\naddress {address}\ntopic # out 1\nnotifications false\n\
                     bridge_protocol_version mqttv311\nrestart_timeout 1\nbridge_insecure true\n\
                     bridge_cafile {root}\nbridge_certfile {chain}\nbridge_keyfile {key}\n"
                );
            }
        }
        let config = write(&folder, "mosquitto.conf", &text)?;
        let child = quiet(Command::new(program).arg("-c").arg(config))?;
        Engine::new(child, plain, Some(mutual)).listening().map(Some)
    }

    /// NATS with its MQTT door, or nothing where it is not installed.
    pub(crate) fn nats(&self) -> Result<Option<Engine>> {
        let Some(program) = find("nats-server") else { return Ok(None) };
        let (name, folder) = self.bundle()?;
        let (own, plain) = (free_address()?, free_address()?);
        let text = format!(
            "host: 127.0.0.1\nport: {}\nserver_name: {name}\nlog_file: /dev/null\n\
             max_pending: 1073741824\nwrite_deadline: \"60s\"\n\
             jetstream {{ store_dir: \"{}\" }}\n\
             mqtt {{ host: 127.0.0.1, port: {}, max_ack_pending: 65535, ack_wait: \"60s\" }}\n",
            own.port(),
            folder.join("jetstream").display(),
            plain.port(),
        );
        let config = write(&folder, "nats.conf", &text)?;
        let child = quiet(Command::new(program).arg("-c").arg(config))?;
        Engine::new(child, plain, None).listening().map(Some)
    }
}

type Mutual = (SocketAddr, ServerName<'static>, Arc<ClientConfig>);

impl Engine {
    const fn new(child: Child, plain: SocketAddr, mutual: Option<Mutual>) -> Self {
        Self { child, plain, mutual, link: None, _stdout: None }
    }

    fn listening(mut self) -> Result<Self> {
        let since = Instant::now();
        while TcpStream::connect(self.plain).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("an engine ended before it listened: {status}");
            }
            if since.elapsed() > START {
                bail!("an engine does not listen after {START:?}");
            }
            std::thread::sleep(LOOK);
        }
        Ok(self)
    }

    /// Its door on loopback.
    pub(crate) const fn plain(&self) -> Door {
        Door::Plain(self.plain)
    }

    /// Its door for certificates, if it has one.
    pub(crate) fn mutual(&self) -> Option<Door> {
        let (address, name, config) = self.mutual.clone()?;
        Some(Door::Mutual(address, name, config))
    }

    /// What it holds in memory, in KiB.
    pub(crate) fn resident_kib(&self) -> Result<f64> {
        crate::memory::resident_kib_of(&self.child.id().to_string())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM);
        let since = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && since.elapsed() < END {
            std::thread::sleep(LOOK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a program of this name is.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from(SBIN)]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn quiet(command: &mut Command) -> Result<Child> {
    let none = Stdio::null;
    Ok(command.stdin(none()).stdout(none()).stderr(none()).spawn()?)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, text)?;
    Ok(path)
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
