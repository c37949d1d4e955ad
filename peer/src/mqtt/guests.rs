//! Connections that came by certificate, so that each can be cut when its certificate is out.
//!
//! **Invariant:** a guest is entered before it is judged a last time, so no news slips in between.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::name::NodeName;
use shared::time::Timestamp;
use shared::verify::{Member, Verifier};

use crate::link::KillSwitch;

/// All of them.
#[derive(Default, Clone)]
pub(super) struct Guests(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    last: u64,
    guests: BTreeMap<u64, (Member, KillSwitch)>,
}

/// One of them, for as long as its connection lasts.
pub(super) struct Guest {
    of: Guests,
    number: u64,
}

impl Guests {
    /// Enters a connection.
    pub(super) fn enter(&self, member: Member, kill: KillSwitch) -> Guest {
        let mut inside = self.lock();
        inside.last += 1;
        let number = inside.last;
        inside.guests.insert(number, (member, kill));
        Guest { of: self.clone(), number }
    }

    /// Cuts those whose certificates do not stand any more; gives their names.
    pub(super) fn judge(&self, verifier: &Verifier, now: Timestamp) -> Vec<NodeName> {
        let inside = self.lock();
        let fallen = inside
            .guests
            .values()
            .filter(|(member, kill)| !kill.is_killed() && verifier.recheck(member, now).is_err());
        fallen
            .map(|(member, kill)| {
                kill.kill();
                member.node().clone()
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.of.lock().guests.remove(&self.number);
    }
}
