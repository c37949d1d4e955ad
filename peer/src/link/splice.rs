//! A relay's work: octets from one end of a circuit to the other, unread.
//!
//! Nothing is queued: a slow end makes the other wait, by TCP's own back-pressure, and no other
//! circuit notices. Each direction has its own rate.
//!
//! **Invariant:** when this returns, both connections are closed.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use peer_core::Flow;
use shared::time::Tick;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsStream;

use super::kill::Guarded;
use super::secured::Secured;
use crate::limits;

/// What one circuit may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Octets per second in each direction.
    pub per_second: u64,
    /// How long nothing may pass.
    pub idle: Duration,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { per_second: limits::CIRCUIT_BYTES_PER_S, idle: limits::CIRCUIT_IDLE }
    }
}

/// Joins two connections until both ends have hung up, one is cut, or nothing passes for too long.
pub async fn splice(a: Secured, b: Secured, allowance: Allowance) {
    let kills = [a.kill.clone(), b.kill.clone()];
    let [first, second] = &kills;
    let begun = Instant::now();
    let moved = Moved { begun, last_ms: AtomicU64::new(0) };
    let (from_a, to_a) = tokio::io::split(a.stream);
    let (from_b, to_b) = tokio::io::split(b.stream);
    let both = async {
        tokio::try_join!(
            pump(from_a, to_b, &moved, allowance.per_second),
            pump(from_b, to_a, &moved, allowance.per_second),
        )
    };
    let ended = tokio::select! {
        biased;
        () = first.killed() => false,
        () = second.killed() => false,
        ended = both => ended.is_ok(),
        () = moved.idle(allowance.idle) => false,
    };
    // Whoever is still there learns at once that the other is not.
    if !ended {
        kills.iter().for_each(super::KillSwitch::kill);
    }
}

/// When something last passed.
struct Moved {
    begun: Instant,
    last_ms: AtomicU64,
}

impl Moved {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn note(&self) -> Tick {
        let now = self.now_ms();
        self.last_ms.store(now, Ordering::Relaxed);
        Tick::from_ms(now)
    }

    async fn idle(&self, bound: Duration) {
        loop {
            let quiet = self.now_ms().saturating_sub(self.last_ms.load(Ordering::Relaxed));
            match bound.checked_sub(Duration::from_millis(quiet)) {
                Some(rest) if !rest.is_zero() => sleep(rest).await,
                _ => return,
            }
        }
    }
}

async fn pump(
    mut from: ReadHalf<TlsStream<Guarded>>,
    mut to: WriteHalf<TlsStream<Guarded>>,
    moved: &Moved,
    per_second: u64,
) -> io::Result<()> {
    let mut flow = Flow::new(per_second, Tick::from_ms(0));
    let mut buffer = vec![0; limits::READ_BYTES];
    loop {
        let length = from.read(&mut buffer).await?;
        let Some(octets) = buffer.get(..length).filter(|octets| !octets.is_empty()) else {
            // This end has said all it will; the other may still be speaking.
            return timeout(limits::LINGER, to.shutdown()).await?;
        };
        to.write_all(octets).await?;
        to.flush().await?;
        let wait_ms = flow.take(length as u64, moved.note());
        if wait_ms > 0 {
            sleep(Duration::from_millis(wait_ms)).await;
        }
    }
}
