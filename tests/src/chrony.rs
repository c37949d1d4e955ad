//! chrony as a client: a program that we did not write, and that asks for the time.
//!
//! It never sees the system's clock: `-x` and, where there is `setpriv`, without the capability.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::judge::judge;

/// In this time it has measured: an exchange of keys that took it more than two seconds is tried
/// again after sixteen, twice as many and so on.
pub const IN_THE_END: Duration = Duration::from_secs(90);

/// What it says once it has measured.
const MEASURED: &str = "System clock wrong by ";
/// Its four questions are two seconds apart.
const IN_VAIN: Duration = Duration::from_secs(8);

/// Where chrony is, and a folder for what it writes.
pub struct Chrony {
    program: PathBuf,
    folder: PathBuf,
}

/// One that runs, ended by its own id.
pub struct Running {
    child: Child,
    folder: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Chrony {
    /// The one that is installed, if any is.
    #[must_use]
    pub fn found(folder: &Path) -> Option<Self> {
        let program = judge(&["chronyd"])?;
        Some(Self { program, folder: folder.to_owned() })
    }

    /// Asks 127.0.0.1, and returns what it says its clock is off by. `server` is how to ask, in the
    /// words of its configuration.
    ///
    /// # Panics
    /// If it has no answer in the end; with what it says.
    #[must_use]
    pub fn asks(&self, trust: &Path, server: &str) -> f64 {
        let said = self.asks_for(trust, server, IN_THE_END);
        let off = said.split_once(MEASURED).unwrap_or_else(|| panic!("{said}")).1;
        off.split(' ').next().unwrap().parse().unwrap()
    }

    /// Asks 127.0.0.1 in vain, for as long as it takes four answers to come where there are any.
    #[must_use]
    pub fn hears_nothing(&self, trust: &Path, server: &str) -> bool {
        !self.asks_for(trust, server, IN_VAIN).contains(MEASURED)
    }

    /// Asks until it has measured, at most so long; what it said.
    fn asks_for(&self, trust: &Path, server: &str, bound: Duration) -> String {
        let conf = self.conf(&format!(
            "server 127.0.0.1 {server} iburst maxsamples 4\nntstrustedcerts {}\nnosystemcert",
            trust.display()
        ));
        let seconds = bound.as_secs().to_string();
        let output = self.command(&conf, &["-Q", "-t", &seconds]).output().unwrap();
        String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned()
    }

    fn run(&self, text: &str) -> Running {
        let child = self.command(&self.conf(text), &["-d"]).spawn().unwrap();
        Running { child, folder: self.folder.clone() }
    }

    /// Runs on, and asks 127.0.0.1 four times a second.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn follows(&self, trust: &Path, exchange: u16) -> Running {
        self.run(&format!(
            "server 127.0.0.1 nts ntsport {exchange} minpoll -2 maxpoll -2\n\
             ntstrustedcerts {}\nnosystemcert",
            trust.display()
        ))
    }

    /// A file for it, with what all of them have.
    fn conf(&self, text: &str) -> PathBuf {
        use std::os::unix::fs::DirBuilderExt as _;
        let (path, talk) = (self.folder.join("chrony.conf"), self.folder.join("chrony"));
        let pid = self.folder.join("chrony.pid");
        // It wants the folder of its command socket for itself.
        let _ = std::fs::DirBuilder::new().mode(0o700).create(&talk);
        let all = format!(
            "{text}\ncmdport 0\nbindcmdaddress {}/sock\npidfile {}\n",
            talk.display(),
            pid.display()
        );
        std::fs::write(&path, all).unwrap();
        path
    }

    fn command(&self, conf: &Path, more: &[&str]) -> Command {
        let mut words = vec![self.program.display().to_string()];
        let is_root = rustix::process::geteuid().is_root();
        if is_root && Path::new("/usr/bin/setpriv").exists() {
            words.splice(0..0, ["setpriv", "--bounding-set=-sys_time"].map(str::to_owned));
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["-x", "-U", "-u", "root", "-f"]).arg(conf).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Running {
    /// What `chronyc` says of it; none if there is no chronyc.
    ///
    /// # Panics
    /// If chronyc cannot be run.
    #[must_use]
    pub fn report(&self, what: &str) -> Option<String> {
        let program = judge(&["chronyc"])?;
        let socket = self.folder.join("chrony/sock");
        let output = Command::new(program).arg("-h").arg(socket).args(["-n", what]).output();
        Some(String::from_utf8_lossy(&output.unwrap().stdout).into_owned())
    }
}
