//! From the node's accusation to the disk, beside the loop.

use std::path::PathBuf;

use peer_core::Event;
use tokio::sync::mpsc;

use super::driver::Driver;
use super::fabric::Fabric;
use crate::evidence::{self, Twins};

/// Accusations that wait for the disk; the node tells each pair of instances once.
pub(super) const EVIDENCE_QUEUE: usize = 16;

impl<F: Fabric> Driver<F> {
    pub(super) fn keep_evidence(&self, event: &Event) {
        if let Event::Twins { node, statements } = event {
            let _ = self.saving.evidence.try_send((node.clone(), statements.clone()));
        }
    }
}

/// Writes what is accused until the driver is gone.
pub(super) async fn keep(mut accused: mpsc::Receiver<Twins>, folder: PathBuf) {
    while let Some(twins) = accused.recv().await {
        evidence::keep_one(twins, folder.clone()).await;
    }
}
