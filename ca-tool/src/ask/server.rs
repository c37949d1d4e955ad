//! The other end of the control socket, inside `ca-tool serve`.
//!
//! **Invariant:** only the owner of the state folder and root are answered; who connects costs a
//! bounded slot and a bounded line.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use host::fault::Fault;
use host::files::FileError;
use peer::control::ShortPath;
use peer::control::protocol::FaultText;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Ask;
use super::limits::{CLIENTS_MAX, PAUSE, QUESTION, QUESTION_BYTES_MAX, READING};
use super::line::Reply;

/// Answers one question; it may block.
pub type Answering = Arc<dyn Fn(Ask) -> Result<serde_json::Value, Fault> + Send + Sync>;

/// The listening socket; it is removed with this value.
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Listens in a state folder whose lock the caller holds: a socket that stands there is of a
    /// killed run.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(folder: &Path) -> Result<Self, FileError> {
        let path = folder.join(peer::control::SOCKET);
        let failed = |error| FileError::from_io("listen on", &path, error);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let short = ShortPath::of(folder).map_err(failed)?;
        let listener = std::os::unix::net::UnixListener::bind(&short.path).map_err(failed)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        Ok(Self { listener, path })
    }

    /// Answers until it is told to stop, and then what is under way.
    pub async fn run(self, answering: Answering, mut stop: watch::Receiver<bool>) {
        // The socket goes before what holds the folder's lock: the next run makes its own.
        let held = (self, answering);
        let (server, answering) = &held;
        let room = Arc::new(Semaphore::new(CLIENTS_MAX));
        let mut clients = JoinSet::new();
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            while clients.try_join_next().is_some() {}
            let accepted = tokio::select! {
                () = told(&mut stop) => break,
                accepted = server.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) if is_ours(&stream) => {
                    let (answering, stop) = (Arc::clone(answering), stop.clone());
                    clients.spawn(async move {
                        // A command that leaves, or does not read, is nobody's loss.
                        let _ = converse(stream, answering, stop).await;
                        drop(place);
                    });
                }
                Ok(_) => tracing::warn!("another user tried the control socket"),
                Err(error) => {
                    tracing::warn!(%error, "control socket");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        while clients.join_next().await.is_some() {}
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn is_ours(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|theirs| theirs.uid() == own || theirs.uid() == 0)
}

/// Waits until everything is to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn converse(
    stream: UnixStream,
    answering: Answering,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut from = BufReader::new(from);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut from).take(QUESTION_BYTES_MAX);
        tokio::select! {
            () = told(&mut stop) => return Ok(()),
            read = timeout(QUESTION, bounded.read_until(b'\n', &mut line)) => read??,
        };
        if line.is_empty() {
            return Ok(());
        }
        let reply = answer(line, Arc::clone(&answering)).await;
        let mut bytes = serde_json::to_vec(&reply)?;
        bytes.push(b'\n');
        timeout(READING, to.write_all(&bytes)).await??;
    }
}

async fn answer(line: Vec<u8>, answering: Answering) -> Reply {
    let usage =
        |what: String| Fault::usage(what).hint("use the ca-tool of the version that serves");
    let told = match serde_json::from_slice::<Ask>(&line) {
        Err(error) => Err(usage(format!("the question is not understood: {error}"))),
        Ok(_) if line.last() != Some(&b'\n') => Err(usage("the question is cut".to_owned())),
        Ok(ask) => tokio::task::spawn_blocking(move || answering(ask))
            .await
            .unwrap_or_else(|_| Err(Fault::failed("the authority could not answer"))),
    };
    match told {
        Ok(value) => Reply::Told(value),
        Err(fault) => Reply::Fault(FaultText::from(&fault)),
    }
}
