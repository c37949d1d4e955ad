//! chrony as a client: a program that we did not write, and that asks for the time.
//!
//! It never sees the system's clock: `-x` and, where there is `setpriv`, without the capability.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::judge::judge;

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

    /// Asks 127.0.0.1 once, and returns what it says its clock is off by. `server` is how to ask,
    /// in the words of its configuration.
    #[must_use]
    pub fn asks(&self, trust: &Path, server: &str) -> Option<f64> {
        let conf = self.conf(&format!(
            "server 127.0.0.1 {server} iburst maxsamples 4\nntstrustedcerts {}\nnosystemcert",
            trust.display()
        ));
        let output = self.command(&conf, &["-Q", "-t", "8"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = said + &String::from_utf8_lossy(&output.stdout);
        let off = said.split_once("System clock wrong by ")?.1;
        Some(off.split(' ').next().unwrap().parse().unwrap())
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
