//! A store with faults that a test controls.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::error::{Error, ErrorKind, Result};
use crate::store::{LayeredStore, Operation, Store, StoreLayer};

/// The outcome of one operation of a [`FaultyStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// The operation is passed on, and its result is returned.
    Done,
    /// The operation is not passed on, and `Unavailable` is returned.
    Refused,
    /// The operation is passed on, but its reply is lost: `Timeout` is returned.
    ReplyLost,
}

/// A store that passes operations on to another one, except those that a test refuses, loses or holds up.
///
/// A clone is the same store with the same faults.
///
/// ```
/// use cachefront::MemoryStore;
/// use cachefront::testing::{Fate, FaultyStore, Operation};
///
/// let store = FaultyStore::new(MemoryStore::new("shop"));
/// store.next(Operation::Fill, [Fate::Refused, Fate::ReplyLost]);
/// store.set_down(true);
/// assert_eq!(store.calls(Operation::Get), 0);
/// ```
pub type FaultyStore = LayeredStore<Faults>;

/// The faults of a [`FaultyStore`].
pub struct Faults {
    plan: Mutex<Plan>,
    held_up: watch::Sender<bool>,
}

/// Maximum number of recorded calls.
const HISTORY_MAX: usize = 10_000;

#[derive(Default)]
struct Plan {
    down: bool,
    fates: HashMap<Operation, VecDeque<Fate>>,
    calls: HashMap<Operation, u64>,
    history: VecDeque<Operation>,
    delay: Duration,
}

impl FaultyStore {
    /// Wraps a store, without faults.
    pub fn new(store: impl Store) -> Self {
        let faults = Faults { plan: Mutex::default(), held_up: watch::Sender::new(false) };
        Self::around(store, faults)
    }

    /// Sets whether every operation is refused. Outcomes set with [`next`](Self::next) are kept for later.
    pub fn set_down(&self, down: bool) {
        self.layer().plan().down = down;
    }

    /// Sets whether operations are held up: they begin and do not end.
    pub fn set_held_up(&self, held_up: bool) {
        self.layer().held_up.send_replace(held_up);
    }

    /// Sets the outcomes of the next calls of an operation, in order.
    pub fn next(&self, operation: Operation, fates: impl IntoIterator<Item = Fate>) {
        self.layer().plan().fates.entry(operation).or_default().extend(fates);
    }

    /// Sets a delay of every call, in tokio's time.
    pub fn set_delay(&self, delay: Duration) {
        self.layer().plan().delay = delay;
    }

    /// Returns the calls since the last call of this method, oldest first; at most 10,000 calls are recorded.
    pub fn take_history(&self) -> Vec<Operation> {
        self.layer().plan().history.drain(..).collect()
    }

    /// Returns the number of calls of an operation, with any outcome.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.layer().plan().calls.get(&operation).copied().unwrap_or_default()
    }
}

impl Faults {
    /// No code panics while it holds the lock.
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate(&self, operation: Operation) -> Fate {
        let mut plan = self.plan();
        if plan.down {
            return Fate::Refused;
        }
        plan.fates.get_mut(&operation).and_then(VecDeque::pop_front).unwrap_or(Fate::Done)
    }

    fn note(&self, operation: Operation) -> Duration {
        let mut plan = self.plan();
        *plan.calls.entry(operation).or_default() += 1;
        plan.history.push_back(operation);
        if plan.history.len() > HISTORY_MAX {
            plan.history.pop_front();
        }
        plan.delay
    }
}

impl StoreLayer for Faults {
    async fn around<T: Send>(&self, operation: Operation, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        if operation.waits() {
            return call.await;
        }
        let delay = self.note(operation);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut held_up = self.held_up.subscribe();
        // These faults hold the sender, so it cannot be gone.
        let _ = held_up.wait_for(|held_up| !held_up).await;
        match self.fate(operation) {
            Fate::Done => call.await,
            Fate::Refused => Err(Error::new(ErrorKind::Unavailable, format!("{operation:?} is refused by the test"))),
            Fate::ReplyLost => {
                call.await?;
                Err(Error::new(ErrorKind::Timeout, format!("the reply to {operation:?} is lost by the test")))
            }
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("down", &self.plan().down).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::key::StoreKey;
    use crate::store::MemoryStore;

    #[tokio::test]
    async fn faults_occur_in_order_and_end() {
        let store = FaultyStore::new(MemoryStore::new("shop"));
        let key = StoreKey::encode("users", &1_u64).expect("a key");
        store.next(Operation::Get, [Fate::Done, Fate::Refused, Fate::ReplyLost]);
        let kind = async || store.get(&key).await.err().map(|error| error.kind());
        assert_eq!(kind().await, None);
        assert_eq!(kind().await, Some(ErrorKind::Unavailable));
        assert_eq!(kind().await, Some(ErrorKind::Timeout));
        assert_eq!(kind().await, None);
        store.set_down(true);
        assert_eq!(kind().await, Some(ErrorKind::Unavailable));
        assert!(store.writer().await.is_err());
        store.set_down(false);
        store.set_held_up(true);
        let mut get = Box::pin(store.get(&key));
        assert!(get.as_mut().now_or_never().is_none());
        store.set_held_up(false);
        get.await.expect("a reading");
        assert_eq!((store.calls(Operation::Get), store.calls(Operation::Fill)), (6, 0));
    }
}
