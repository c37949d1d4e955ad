//! Finding others: addresses without a name are dialled, what was remembered is read and saved.
//!
//! **Invariant:** nothing that is found is believed: a name comes from a certificate only.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use host::files::{self, FileError, Mode};
use peer_core::DialFailure;
use peer_core::limits::MEMORY_MAX;
use shared::archive::Shelf;
use shared::limits::STATEMENT_BYTES_MAX;
use shared::name::NodeName;
use shared::time::Now;
use tokio::sync::{mpsc, watch};

use super::connection::{Connector, dial_failure};
use super::driver::Driver;
use super::fabric::Fabric;
use super::news::News;
use super::telling::Telling;
use crate::link;

/// Remembered presences verified in one go, so that the driver hears others in between.
const BATCH: usize = 32;

/// What finding brings.
pub(super) enum Finding {
    /// Somebody answered at an address without a name, and this is who.
    Met { address: String, node: NodeName },
    /// Nobody of ours answered there.
    Failed { address: String, failure: DialFailure },
    /// An address was announced on the local network.
    Announced(String),
    /// Where this machine can be reached, now.
    Addresses(Vec<String>),
    /// Presences of an earlier run.
    Remembered(Vec<Vec<u8>>),
}

impl Connector {
    /// Dials an address without a name and serves the connection until it ends.
    pub(super) async fn dial_unnamed(self: Arc<Self>, address: String) {
        let secured = match link::dial(&address, None, &self.dialler).await {
            Ok(secured) => secured,
            Err(failure) => return self.found_nobody(address, failure).await,
        };
        let node = secured.member.node().clone();
        match self.greet_as_dialler(secured).await {
            Ok(greeted) => {
                self.hear(News::Finding(Finding::Met { address, node })).await;
                if let Some((secured, link)) = greeted {
                    self.run(secured, link).await;
                }
            }
            Err(failure) => self.found_nobody(address, failure).await,
        }
    }

    async fn found_nobody(&self, address: String, failure: link::Failure) {
        let failure = dial_failure(failure);
        self.hear(News::Finding(Finding::Failed { address, failure })).await;
    }
}

impl<F: Fabric> Driver<F> {
    pub(super) fn hear_finding(&mut self, finding: Finding, now: Now) {
        match finding {
            Finding::Met { address, node } => self.node.handle_met(&address, &node, now),
            Finding::Failed { address, failure } => {
                self.telling.lead_failed(&address, &failure, now);
                self.node.handle_lead_failed(&address, failure, now);
            }
            Finding::Announced(address) => self.node.handle_found(address, now),
            Finding::Addresses(addresses) => self.node.set_addresses(addresses, now),
            Finding::Remembered(list) => self.node.handle_remembered(&list, now),
        }
    }
}

/// Reads what an earlier run remembered and hands it over piece by piece. A file that cannot be
/// read costs only the shortcut.
pub(super) async fn recall(path: PathBuf, news: mpsc::Sender<News>) {
    let read = tokio::task::spawn_blocking(move || read(&path)).await;
    let Ok(list) = read else { return };
    for batch in list.chunks(BATCH) {
        let _ = news.send(News::Finding(Finding::Remembered(batch.to_vec()))).await;
    }
}

fn read(path: &Path) -> Vec<Vec<u8>> {
    let bytes_max = MEMORY_MAX * (STATEMENT_BYTES_MAX + 4) + 64;
    let bytes = match files::read_bounded(path, bytes_max) {
        Ok(bytes) => bytes,
        Err(FileError::Missing { .. }) => return Vec::new(),
        Err(error) => {
            tracing::warn!("what was known of others is lost: {error}");
            return Vec::new();
        }
    };
    Shelf::Directory.read(&bytes, MEMORY_MAX).unwrap_or_else(|| {
        tracing::warn!("{} is no directory of this version", path.display());
        Vec::new()
    })
}

/// Writes what is remembered whenever there is something newer, off the driver's loop.
pub(super) async fn save(mut memory: watch::Receiver<Vec<Vec<u8>>>, path: PathBuf) {
    while memory.changed().await.is_ok() {
        let newest = memory.borrow_and_update().clone();
        let path = path.clone();
        let saved = tokio::task::spawn_blocking(move || {
            files::write_atomic(&path, &Shelf::Directory.write(&newest), Mode::Secret)
        })
        .await;
        match saved {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => Telling::not_remembered(&fault),
            Err(error) => Telling::not_remembered(&error),
        }
    }
}
