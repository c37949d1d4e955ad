//! The commands' way to the authority: the state folder itself, or the `ca-tool serve` that has it.
//!
//! **Invariant:** one of the two answers, or the wait ends with who holds the folder.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use host::fault::Fault;
use host::lock::LockError;
use host::passphrase::{Passphrase, PassphraseError};
use peer::control::ShortPath;

use super::limits::{ANSWER, ANSWER_BYTES_MAX, TURN, WAIT};
use super::line::Reply;
use super::{Ask, Facts, Ground, Question};
use crate::authority::{Authority, Registry, Surroundings};
use crate::error::CaError;

/// Where a passphrase comes from, if one is needed.
pub type Asking = Box<dyn FnOnce() -> Result<Passphrase, PassphraseError>>;

enum Way {
    /// Nobody has opened the folder yet.
    Registry(Box<Registry>, Asking),
    /// With the issuing key.
    Authority(Box<Authority>),
    /// Somebody else has it.
    Remote(BufReader<UnixStream>),
}

/// The way to an authority.
pub struct Door {
    way: Option<Way>,
    around: Surroundings,
    folder: PathBuf,
}

impl Door {
    /// Finds the way; `on_wait` is told who holds the folder, once, if one has to wait.
    ///
    /// # Errors
    /// [`Fault`] if there is no authority, or it stays in use.
    pub fn open(folder: &Path, asking: Asking, on_wait: impl FnOnce(&str)) -> Result<Self, Fault> {
        let start = Instant::now();
        let mut on_wait = Some(on_wait);
        let way = loop {
            if let Some(stream) = connect(folder) {
                break Way::Remote(stream);
            }
            let opened = Registry::open_within(folder, TURN, |holder| {
                if let Some(tell) = on_wait.take() {
                    tell(holder);
                }
            });
            match opened {
                Ok(registry) => break Way::Registry(Box::new(registry), asking),
                Err(CaError::Lock(LockError::Held { .. })) if start.elapsed() < WAIT => {}
                Err(error) => return Err(error.into()),
            }
        };
        Ok(Self { way: Some(way), around: Surroundings::default(), folder: folder.to_owned() })
    }

    /// The state folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Asks.
    ///
    /// # Errors
    /// [`Fault`]: the authority's, or that it ended before it answered.
    pub fn ask<Q: Question>(&mut self, question: Q) -> Result<Q::Answer, Fault> {
        let way = self.way.take().ok_or(CaError::Unusable)?;
        match way {
            Way::Registry(registry, asking) if Q::NEEDS_KEY => {
                self.way = Some(Way::Authority(Box::new(registry.unlock(asking)?)));
                self.ask(question)
            }
            Way::Registry(registry, asking) => {
                let answer = question.answer(self.ground(&registry, None));
                self.way = Some(Way::Registry(registry, asking));
                answer
            }
            Way::Authority(authority) => {
                let answer = question.answer(self.ground(&authority, Some(&authority)));
                self.way = Some(Way::Authority(authority));
                answer
            }
            Way::Remote(mut stream) => {
                let value = exchange(&mut stream, &question.into())?;
                self.way = Some(Way::Remote(stream));
                let answer = serde_json::from_value(value.map_err(Fault::from)?);
                answer.map_err(|_| strange())
            }
        }
    }

    fn ground<'a>(
        &'a self,
        registry: &'a Registry,
        authority: Option<&'a Authority>,
    ) -> Ground<'a> {
        Ground { registry, authority, publisher: &crate::publish::publish, around: &self.around }
    }
}

/// A connection, if somebody serves there and answers: one that is just stopping does not.
fn connect(folder: &Path) -> Option<BufReader<UnixStream>> {
    let short = ShortPath::of(folder).ok()?;
    let stream = UnixStream::connect(&short.path).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.set_write_timeout(Some(ANSWER)).ok()?;
    let mut stream = BufReader::new(stream);
    exchange(&mut stream, &Facts.into()).ok()?.ok()?;
    Some(stream)
}

fn exchange(
    stream: &mut BufReader<UnixStream>,
    ask: &Ask,
) -> Result<Result<serde_json::Value, peer::control::protocol::FaultText>, Fault> {
    let mut line = serde_json::to_vec(ask).map_err(|_| strange())?;
    line.push(b'\n');
    stream.get_mut().write_all(&line).map_err(|error| broken(&error))?;
    let mut answer = Vec::new();
    let mut bounded = stream.take(ANSWER_BYTES_MAX);
    bounded.read_until(b'\n', &mut answer).map_err(|error| broken(&error))?;
    if answer.last() != Some(&b'\n') {
        return Err(Fault::failed("the authority ended before it had answered")
            .hint("see whether it was done: ca-tool log"));
    }
    Ok(match serde_json::from_slice(&answer).map_err(|_| strange())? {
        Reply::Told(value) => Ok(value),
        Reply::Fault(fault) => Err(fault),
    })
}

fn strange() -> Fault {
    Fault::failed("what the running authority says is not understood")
        .hint("use the ca-tool of the version that serves")
}

fn broken(error: &io::Error) -> Fault {
    let what = match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            "the running authority did not answer in time".to_owned()
        }
        _ => format!("cannot speak to the running authority: {error}"),
    };
    Fault::failed(what).hint("see whether it was done: ca-tool log")
}
