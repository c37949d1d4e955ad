//! What an authority that is online does by itself: signs the feed again in time, renews its own
//! certificate, and writes down what was refused.
//!
//! **Invariant:** nothing here ends because one turn failed; it is said and tried again.

use std::sync::Arc;
use std::time::Duration;

use super::desk::Desk;
use super::shown;
use crate::error::CaError;

/// How often it is looked at what is due. Lives are minutes at least; a look costs a read.
const TURN: Duration = Duration::from_secs(5);
/// Turns between two records of refusals: one a minute at most.
const REFUSALS_TURNS: u32 = 12;

/// Looks after the authority until it is aborted.
pub(super) async fn keep(desk: Arc<Desk>, door: Arc<tls::Listener>) {
    let mut turns = tokio::time::interval(TURN);
    let mut count = 0_u32;
    loop {
        turns.tick().await;
        count = count.wrapping_add(1);
        let record = count.is_multiple_of(REFUSALS_TURNS);
        let (desk, door) = (Arc::clone(&desk), Arc::clone(&door));
        // It reads and writes files.
        let done = tokio::task::spawn_blocking(move || turn(&desk, &door, record)).await;
        if let Ok(Err(error)) = done {
            tracing::warn!("not done, and tried again: {error}");
        }
    }
}

fn turn(desk: &Desk, door: &tls::Listener, record: bool) -> Result<(), CaError> {
    let authority = &desk.authority;
    if authority.certificate_is_due() {
        let failed = |error: tls::TlsError| CaError::Tls(error.to_string());
        door.replace(&shown(authority)?).map_err(failed)?;
        tracing::info!("the authority's own certificate was renewed");
    }
    if authority.feed_is_due()? {
        let number = authority.refresh_feed()?;
        tracing::info!(number, "the feed was signed again");
    }
    if let Some((count, last)) = record.then(|| desk.take_unlogged()).flatten() {
        authority.note_refusals(count, &last)?;
    }
    Ok(())
}
