//! From the node's accusation to the disk, beside the loop.

use std::path::PathBuf;

use peer_core::Event;
use shared::name::NodeName;
use tokio::sync::mpsc;

use super::driver::Driver;
use super::fabric::Fabric;
use crate::evidence;

/// Accusations that wait for the disk; the node tells each pair of instances once.
pub(super) const EVIDENCE_QUEUE: usize = 16;

/// Two contradicting statements of one node.
pub(super) type Twins = (NodeName, [Vec<u8>; 2]);

impl<F: Fabric> Driver<F> {
    pub(super) fn keep_evidence(&self, event: &Event) {
        if let Event::Twins { node, statements } = event {
            let _ = self.saving.evidence.try_send((node.clone(), statements.clone()));
        }
    }
}

/// Writes what is accused until the driver is gone.
pub(super) async fn keep(mut accused: mpsc::Receiver<Twins>, folder: PathBuf) {
    while let Some((node, statements)) = accused.recv().await {
        let folder = folder.clone();
        let kept =
            tokio::task::spawn_blocking(move || evidence::keep(&folder, &node, &statements)).await;
        match kept {
            Ok(Ok(Some(path))) => tracing::warn!("evidence kept: {}", path.display()),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::warn!("evidence could not be written: {error}"),
            Err(error) => tracing::warn!("evidence could not be written: {error}"),
        }
    }
}
