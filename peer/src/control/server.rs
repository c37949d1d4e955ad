//! The daemon's side of the control socket.
//!
//! A client may ask again on its connection once it was answered.
//!
//! **Invariant:** clients, the bytes of a line and the time to say the first are bounded; a client
//! that leaves ends what it asked for.

use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use host::fault::Fault;
use host::files::FileError;
use host::lock::FileLock;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::protocol::{FaultText, Reply, Request};
use super::{SOCKET, ShortPath};
use crate::limits::{
    CONTROL_CLIENTS_MAX, CONTROL_LINE_BYTES_MAX, CONTROL_REPLY_MS, CONTROL_REQUEST_MS,
};

/// How long to wait after accepting failed: descriptors are used up, and some will be free soon.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The client has gone, or does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the command has gone")]
pub struct Closed;

impl From<Closed> for Fault {
    fn from(closed: Closed) -> Self {
        Self::failed(closed.to_string())
    }
}

/// Who answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request; the end (`Done`, or the fault) is told by the caller. Dropped where it
    /// stands when the client leaves.
    fn handle(
        &self,
        request: Request,
        replies: &mut Replier,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// The way back to one client.
pub struct Replier {
    to: OwnedWriteHalf,
}

impl Replier {
    /// Sends one reply.
    ///
    /// # Errors
    /// [`Closed`]
    pub async fn send(&mut self, reply: &Reply) -> Result<(), Closed> {
        let mut line = serde_json::to_vec(reply).map_err(|_| Closed)?;
        line.push(b'\n');
        let written = timeout(Duration::from_millis(CONTROL_REPLY_MS), self.to.write_all(&line));
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Closed),
        }
    }
}

/// The listening socket; it is removed with this value.
pub struct Server {
    listener: tokio::net::UnixListener,
    path: PathBuf,
}

impl Server {
    /// Listens in a bundle. A socket that stands there is of a killed peer: whoever has the
    /// lock is the only one. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(folder: &Path, _lock: &FileLock) -> Result<Self, FileError> {
        let path = folder.join(SOCKET);
        let failed = |error| FileError::from_io("listen on", &path, error);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let short = ShortPath::of(folder).map_err(failed)?;
        let listener = std::os::unix::net::UnixListener::bind(&short.path).map_err(failed)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = tokio::net::UnixListener::from_std(listener).map_err(failed)?;
        Ok(Self { listener, path })
    }

    /// Serves until it is dropped; requests under way end with it.
    pub async fn run<H: Handler>(self, handler: Arc<H>) {
        let room = Arc::new(Semaphore::new(CONTROL_CLIENTS_MAX));
        let mut clients = JoinSet::new();
        loop {
            // Only with a place to put them are clients accepted; the others wait in the backlog.
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            while clients.try_join_next().is_some() {}
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let handler = Arc::clone(&handler);
                    clients.spawn(async move {
                        serve(stream, handler.as_ref()).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "control socket");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve<H: Handler>(stream: UnixStream, handler: &H) {
    let (from, to) = stream.into_split();
    let mut from = BufReader::new(from);
    let mut replies = Replier { to };
    let patience = Duration::from_millis(CONTROL_REQUEST_MS);
    let mut read = timeout(patience, read_request(&mut from))
        .await
        .unwrap_or_else(|_| Err("nothing was asked in time".to_owned()));
    while answer(read, &mut from, &mut replies, handler).await {
        // Who was answered may take time to ask again, or go.
        if from.fill_buf().await.is_ok_and(<[u8]>::is_empty) {
            return;
        }
        read = read_request(&mut from).await;
    }
}

/// Answers one request; says whether another may follow.
async fn answer<H: Handler>(
    read: Result<Request, String>,
    from: &mut BufReader<OwnedReadHalf>,
    replies: &mut Replier,
    handler: &H,
) -> bool {
    let (end, readable) = match read {
        Err(what) => (Err(Fault::usage(what).hint("use the peer of the same version")), false),
        Ok(request) => tokio::select! {
            biased;
            end = handler.handle(request, replies) => (end, true),
            () = gone(from) => return false,
        },
    };
    let last = match end {
        Ok(()) => Reply::Done,
        Err(fault) => Reply::Fault(FaultText::from(&fault)),
    };
    replies.send(&last).await.is_ok() && readable
}

async fn read_request(from: &mut BufReader<OwnedReadHalf>) -> Result<Request, String> {
    let mut line = Vec::new();
    let max = CONTROL_LINE_BYTES_MAX as u64;
    let mut bounded = from.take(max);
    bounded.read_until(b'\n', &mut line).await.map_err(|error| error.to_string())?;
    if line.last() != Some(&b'\n') {
        return Err(format!("the request is cut, or longer than {max} bytes"));
    }
    serde_json::from_slice(&line).map_err(|error| format!("the request is not understood: {error}"))
}

/// Until the client closes its side. What it asks meanwhile is its next request.
async fn gone(from: &mut BufReader<OwnedReadHalf>) {
    if from.fill_buf().await.is_ok_and(|said| !said.is_empty()) {
        std::future::pending::<()>().await;
    }
}
