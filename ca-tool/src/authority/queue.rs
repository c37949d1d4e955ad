//! Group commit: threads that want certificates at once share their durable transactions.
//!
//! Whoever finds nobody leading leads one step: one transaction makes the results of the step
//! before durable together with the intents of what has come in since; then the new intents are
//! signed. So a certificate costs two transactions, and so do thirty.
//!
//! **Invariant:** one step runs at a time, and at most one request for a node is under way.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use shared::name::NodeName;

use super::order::{Done, Order, Signed};
use crate::Issued;
use crate::error::CaError;

/// Requests in one step: the transaction stays short, so that nobody waits long for it.
const STEP_MAX: usize = 64;

/// Where an answer will stand.
pub(crate) type Slot = Arc<Mutex<Option<Result<Issued, CaError>>>>;

/// A request that waits.
pub(crate) struct Job {
    pub(crate) order: Order,
    pub(crate) slot: Slot,
}

#[derive(Default)]
struct State {
    waiting: Vec<Job>,
    signed: Vec<Signed>,
    busy: BTreeSet<NodeName>,
    leading: bool,
}

/// The queue in front of the issuing key.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

impl Queue {
    /// Waits until the request is answered, leading a step whenever nobody else does.
    pub(crate) fn submit(
        &self,
        order: Order,
        step: impl Fn(Vec<Signed>, Vec<Job>) -> (Vec<Done>, Vec<Signed>),
    ) -> Result<Issued, CaError> {
        let slot = Slot::default();
        let mut state = self.lock()?;
        if !state.busy.insert(order.node.clone()) {
            return Err(CaError::Busy { node: order.node });
        }
        state.waiting.push(Job { order, slot: Arc::clone(&slot) });
        loop {
            if let Some(answer) = slot.lock().map_err(|_| CaError::Unusable)?.take() {
                return answer;
            }
            if state.leading {
                state = self.wake.wait(state).map_err(|_| CaError::Unusable)?;
                continue;
            }
            state = self.lead(state, &step)?;
        }
    }

    fn lead<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        step: &impl Fn(Vec<Signed>, Vec<Job>) -> (Vec<Done>, Vec<Signed>),
    ) -> Result<MutexGuard<'a, State>, CaError> {
        state.leading = true;
        let count = state.waiting.len().min(STEP_MAX);
        let fresh: Vec<Job> = state.waiting.drain(..count).collect();
        let signed = std::mem::take(&mut state.signed);
        drop(state);
        let (done, signed) = step(signed, fresh);
        let mut state = self.lock()?;
        for Done { node, slot, answer } in done {
            state.busy.remove(&node);
            *slot.lock().map_err(|_| CaError::Unusable)? = Some(answer);
        }
        state.signed = signed;
        state.leading = false;
        self.wake.notify_all();
        Ok(state)
    }

    fn lock(&self) -> Result<MutexGuard<'_, State>, CaError> {
        self.state.lock().map_err(|_| CaError::Unusable)
    }
}
