//! Existing MQTT engines as real processes: Mosquitto and NATS, on ports of their own.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};

use crate::judge::judge;
use crate::ports::free_port;
use crate::{SOON, wait_until};

/// An engine, ended when dropped.
pub struct Engine {
    child: Child,
    program: PathBuf,
    config: PathBuf,
    port: u16,
    log: PathBuf,
}

impl Engine {
    /// Mosquitto on a port, with more of a configuration; `None` where it is not installed.
    #[must_use]
    pub fn mosquitto(folder: &Path, port: u16, settings: &str) -> Option<Self> {
        let program = judge(&["mosquitto"])?;
        let text = format!("user root\nlog_type all\nmax_inflight_messages 0\n{settings}\n");
        Some(Self::start(program, folder, "mosquitto.conf", port, &text))
    }

    /// Mosquitto without TLS, for anybody.
    #[must_use]
    pub fn open_mosquitto(folder: &Path) -> Option<Self> {
        let port = free_port();
        let settings = format!("listener {port} 127.0.0.1\nallow_anonymous true\n");
        Self::mosquitto(folder, port, &settings)
    }

    /// NATS with its MQTT door on a port; `None` where it is not installed.
    #[must_use]
    pub fn nats(folder: &Path, port: u16, door: &str, settings: &str) -> Option<Self> {
        let program = judge(&["nats-server"])?;
        let text = format!(
            "host: 127.0.0.1\nport: {}\nserver_name: engine\n\
             jetstream {{ store_dir: \"{}\" }}\n\
             mqtt {{ host: 127.0.0.1, port: {port}, {door} }}\n{settings}\n",
            free_port(),
            folder.join("jetstream").display(),
        );
        Some(Self::start(program, folder, "nats.conf", port, &text))
    }

    fn start(program: PathBuf, folder: &Path, name: &str, port: u16, text: &str) -> Self {
        let config = folder.join(format!("{port}.{name}"));
        std::fs::write(&config, text).unwrap();
        let log = config.with_extension("log");
        let child = spawn(&program, &config, &log);
        let mut engine = Self { child, program, config, port, log };
        engine.wait_open();
        engine
    }

    fn wait_open(&mut self) {
        let (port, log) = (self.port, self.log.clone());
        let child = &mut self.child;
        wait_until("an engine listens", SOON, || {
            let ended = child.try_wait().unwrap();
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none(), "it ended: {}", said());
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
    }

    /// `HOST:PORT` of its door.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Has NATS look at its own configuration.
    ///
    /// # Panics
    /// If it does not like it.
    pub fn accepts(&self) {
        let output = Command::new(&self.program).arg("-t").arg("-c").arg(&self.config).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and its end.
    pub fn stop(&mut self) {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let child = &mut self.child;
        wait_until("an engine ends", SOON, || child.try_wait().unwrap().is_some());
    }

    /// Starts it again with what it had.
    pub fn restart(&mut self) {
        self.child = spawn(&self.program, &self.config, &self.log);
        self.wait_open();
    }
}

fn spawn(program: &Path, config: &Path, log: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(config).stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            #[allow(clippy::print_stderr, reason = "the log of a test that failed")]
            {
                eprintln!("--- log of the engine\n{}", self.log());
            }
        }
    }
}
