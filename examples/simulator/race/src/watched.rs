//! A state behind a lock whose every change is notified.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// A state that tasks can wait for.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    state: Mutex<S>,
    changes: watch::Sender<u64>,
}

impl<S> Watched<S> {
    pub(crate) fn new(state: S) -> Self {
        Self { state: Mutex::new(state), changes: watch::Sender::new(0) }
    }

    /// Changes the state, and notifies every task that waits.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut S) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changes.send_modify(|changes| *changes += 1);
        changed
    }

    /// Returns the state as it is. No code panics while it holds the lock.
    pub(crate) fn lock(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a receiver that is notified of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
