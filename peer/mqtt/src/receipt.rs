//! Who waits until a message is safe, and for what.
//!
//! A connection makes one receipt for all that it reads at once. Whoever still has something to do
//! with one of these messages keeps a [`Hold`]; when the last is let go, the acknowledgements
//! leave.
//!
//! **Invariant:** a hold that is lost, by whatever, does not keep anybody waiting.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

/// What becomes of some messages.
#[derive(Debug, Default)]
pub struct Receipt {
    left: AtomicUsize,
    failed: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Receipt {
    /// One more thing to be done first.
    #[must_use]
    pub fn hold(self: &Arc<Self>) -> Hold {
        self.left.fetch_add(1, Ordering::Relaxed);
        Hold(Arc::clone(self))
    }

    /// Whether everything is done; if not, `waker` is woken then.
    pub fn is_settled(&self, waker: &Waker) -> bool {
        if self.left.load(Ordering::Acquire) == 0 {
            return true;
        }
        let mut parked = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *parked {
            Some(parked) => parked.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        drop(parked);
        self.left.load(Ordering::Acquire) == 0
    }

    /// Whether something of it could not be made safe.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

/// A part of a [`Receipt`] that is not done yet.
#[derive(Debug)]
pub struct Hold(Arc<Receipt>);

impl Hold {
    /// It will not be done.
    pub fn fail(self) {
        self.0.failed.store(true, Ordering::Release);
    }

    /// Another for the same.
    #[must_use]
    pub fn another(&self) -> Self {
        self.0.hold()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.0.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let parked = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(waker) = parked {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_settled_when_the_last_lets_go() {
        let receipt = Arc::new(Receipt::default());
        assert!(receipt.is_settled(Waker::noop()));
        let (one, other) = (receipt.hold(), receipt.hold());
        drop(one);
        assert!(!receipt.is_settled(Waker::noop()) && !receipt.has_failed());
        other.fail();
        assert!(receipt.is_settled(Waker::noop()) && receipt.has_failed());
    }
}
