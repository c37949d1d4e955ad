//! What the driver wants on the disk, written beside its loop: feed, policy, memory, evidence.
//!
//! **Invariant:** of what replaces itself only the newest is written; a burst is written once.

use std::path::PathBuf;

use shared::feed::Feed;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::evidence::{self, EVIDENCE_QUEUE};
use super::finding;
use super::telling::Telling;
use crate::bundle::Bundle;
use crate::evidence::Twins;

/// The driver's ends of what is saved.
pub(super) struct Saving {
    pub(super) feed: watch::Sender<Feed>,
    pub(super) policy: watch::Sender<Vec<u8>>,
    pub(super) memory: watch::Sender<Vec<Vec<u8>>>,
    pub(super) evidence: mpsc::Sender<Twins>,
}

impl Saving {
    /// Begins to save; the tasks end when the driver's ends are gone and all is written.
    pub(super) fn begin(bundle: &Bundle) -> (Self, Vec<JoinHandle<()>>) {
        let (feed, feeds) = watch::channel(bundle.feed.clone());
        let (policy, policies) = watch::channel(Vec::new());
        let (memory, memories) = watch::channel(Vec::new());
        let (evidence, accused) = mpsc::channel(EVIDENCE_QUEUE);
        let paths = &bundle.paths;
        let tasks = vec![
            tokio::spawn(save_feed(feeds, paths.feed())),
            tokio::spawn(save_policy(policies, paths.policy())),
            tokio::spawn(finding::save(memories, paths.directory())),
            tokio::spawn(evidence::keep(accused, paths.evidence())),
        ];
        (Self { feed, policy, memory, evidence }, tasks)
    }
}

/// Writes the newest feed whenever there is a newer one; a burst is written once.
async fn save_feed(mut feed: watch::Receiver<Feed>, path: PathBuf) {
    while feed.changed().await.is_ok() {
        let newest = feed.borrow_and_update().clone();
        let path = path.clone();
        let saved =
            tokio::task::spawn_blocking(move || crate::bundle::save_feed(&path, &newest)).await;
        match saved {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => Telling::not_saved("feed", &fault),
            Err(error) => Telling::not_saved("feed", &error),
        }
    }
}

/// Writes the newest policy whenever there is a newer one.
async fn save_policy(mut policy: watch::Receiver<Vec<u8>>, path: PathBuf) {
    while policy.changed().await.is_ok() {
        let newest = policy.borrow_and_update().clone();
        let path = path.clone();
        let write = move || host::files::write_atomic(&path, &newest, host::files::Mode::Public);
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => Telling::not_saved("policy", &error),
            Err(error) => Telling::not_saved("policy", &error),
        }
    }
}
