//! The commands' side of the control socket. Blocking: a command has nothing else to do.
//!
//! **Invariant:** a stream that ends without `Done` is an error, never a short answer.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use host::fault::Fault;
use host::files::FileError;

use super::ShortPath;
use super::protocol::{Reply, Request};
use crate::limits::{CONTROL_ANSWER_MS, CONTROL_LINE_BYTES_MAX};

/// A bundle whose peer may be asked.
#[derive(Debug, Clone)]
pub struct Client {
    folder: PathBuf,
}

impl Client {
    /// For this bundle.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Whether a peer answers there.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.connect().is_ok()
    }

    /// Asks.
    ///
    /// # Errors
    /// With exit code 4 if no peer runs on the bundle.
    pub fn ask(&self, request: &Request) -> Result<Replies, Fault> {
        let line = line_of(request)?;
        let stream = self.connect()?;
        let mut replies = Replies { from: BufReader::new(stream), ended: false };
        replies.say(&line, request)?;
        Ok(replies)
    }

    /// Asks for one reply and the end.
    ///
    /// # Errors
    /// As [`Client::ask`]; the daemon's fault; or that it answered something else.
    pub fn ask_one(&self, request: &Request) -> Result<Reply, Fault> {
        self.ask(request)?.next()?.ok_or_else(strange)
    }

    fn connect(&self) -> Result<UnixStream, Fault> {
        let folder = self.folder.display();
        let short = match ShortPath::of(&self.folder) {
            Ok(short) => short,
            Err(error) => return Err(FileError::from_io("open", &self.folder, error).into()),
        };
        UnixStream::connect(&short.path).map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                Fault::not_running(format!("no peer runs on {folder}"))
                    .hint(format!("peer run {folder}"))
            }
            _ => FileError::from_io("reach the peer of", &self.folder, error).into(),
        })
    }
}

/// The replies to one request.
pub struct Replies {
    from: BufReader<UnixStream>,
    ended: bool,
}

impl Replies {
    /// Asks again on the same connection, when the last answer has ended.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn ask_again(&mut self, request: &Request) -> Result<(), Fault> {
        let line = line_of(request)?;
        while self.next()?.is_some() {}
        self.ended = false;
        self.say(&line, request)
    }

    fn say(&mut self, line: &[u8], request: &Request) -> Result<(), Fault> {
        let wait = match request {
            Request::Inbox { follow: true, .. } => None,
            Request::Send { wait_ms, .. } => Some(CONTROL_ANSWER_MS.saturating_add(*wait_ms)),
            Request::Mail(mailing) => Some(CONTROL_ANSWER_MS.saturating_add(mailing.wait_ms)),
            _ => Some(CONTROL_ANSWER_MS),
        };
        let stream = self.from.get_mut();
        let wait = wait.map(Duration::from_millis);
        stream.set_read_timeout(wait).map_err(|error| broken(&error))?;
        stream.write_all(line).map_err(|error| broken(&error))
    }

    /// The next reply; `None` after the last one.
    ///
    /// # Errors
    /// The daemon's fault, or that the stream was cut.
    #[allow(clippy::should_implement_trait, reason = "an iterator of results hides the end")]
    pub fn next(&mut self) -> Result<Option<Reply>, Fault> {
        if self.ended {
            return Ok(None);
        }
        let mut line = Vec::new();
        let mut bounded = (&mut self.from).take(CONTROL_LINE_BYTES_MAX as u64);
        bounded.read_until(b'\n', &mut line).map_err(|error| broken(&error))?;
        if line.last() != Some(&b'\n') {
            return Err(Fault::failed("the peer ended before it had answered")
                .hint("see its log for the reason"));
        }
        match serde_json::from_slice(&line).map_err(|_| strange())? {
            Reply::Done => {
                self.ended = true;
                Ok(None)
            }
            Reply::Fault(text) => {
                self.ended = true;
                Err(text.into())
            }
            reply => Ok(Some(reply)),
        }
    }
}

fn line_of(request: &Request) -> Result<Vec<u8>, Fault> {
    let mut line = serde_json::to_vec(request).map_err(|error| broken(&error.into()))?;
    line.push(b'\n');
    if line.len() > CONTROL_LINE_BYTES_MAX {
        return Err(Fault::usage("the request is too long").hint("send less at once"));
    }
    Ok(line)
}

/// The daemon answered what was not asked.
#[must_use]
pub fn strange() -> Fault {
    Fault::failed("the peer's answer is not understood").hint("use the peer of the same version")
}

fn broken(error: &io::Error) -> Fault {
    let what = match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "the peer did not answer in time".to_owned(),
        _ => format!("cannot speak to the peer: {error}"),
    };
    Fault::failed(what).hint("see its log for the reason")
}
