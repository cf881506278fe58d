//! Wakes readers that wait for a load of another process, when the entry changes.
//!
//! The server tells a client that has read a key when the key changes (`CLIENT TRACKING`, client-side caching): so one
//! connection per server, in RESP3 and opened when a reader first waits, reads the lease's token of each key that is waited for.
//! Whatever ends the lease wakes the reader: a fill, a release, an invalidation, a flush of the server. Entries, scripts and
//! other readers have no part in it, and a server that refuses it costs nothing: the readers ask again after pauses.
//!
//! # Why it may wake too often, and never too late
//! The name is registered before the key is read: a change between the two wakes the reader at
//! once. A push names the key and not what happened to it, so a reader that is woken asks the store
//! again, and waits again if another process took the lease meanwhile. An expired lease sends no
//! push; the reader has the time until then from the lease script and stops waiting by itself.
//!
//! The server forgets what a client has read after it sent one push for it, and when its tracking
//! table is full (`tracking-table-max-keys`, 1,000,000 by default): then it sends a push for a key
//! that has not changed. Source: "Client-side caching in Redis",
//! <https://redis.io/docs/latest/develop/reference/client-side-caching/>.
//!
//! ```text
//! > CLIENT TRACKING ON
//! > GETRANGE {cf:shop:0}user:17 72 87          the lease's token
//! < push: invalidate [{cf:shop:0}user:17]      any write to the key
//! < push: invalidate null                      FLUSHALL
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cachefront_core::Result;
use cachefront_core::store::ServerId;
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value};
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::time::Instant;

use crate::conn::{Connection, Dialer};
use crate::error::{Address, closed, into_result};

/// The connections that receive pushes: one per server that a reader has waited on.
///
/// Lazily opened: a process that never waits for another one's load has no such connection.
#[derive(Debug, Default)]
pub(crate) struct Pushes {
    servers: Mutex<HashMap<ServerId, Arc<AsyncMutex<Slot>>>>,
}

/// The connection to one server.
///
/// A failure is remembered for `reconnect_max`, so that a server without `CLIENT TRACKING` is not
/// asked by each reader.
#[derive(Debug, Default)]
enum Slot {
    #[default]
    Empty,
    Open(Watched),
    /// It could not be opened, and is not tried again before this time.
    Failed(Instant),
}

/// A connection whose pushes wake those that wait.
#[derive(Clone)]
struct Watched {
    wire: MultiplexedConnection,
    address: Address,
    waiting: Arc<Waiting>,
}

/// Those that wait for a change of a key, by the key's name.
///
/// One sender per key serves all readers of this process that wait for it.
#[derive(Debug, Default)]
struct Waiting {
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    by_name: HashMap<Box<[u8]>, watch::Sender<bool>>,
    /// The connection is gone: no one is woken any more.
    lost: bool,
}

/// Waits for a change of one key.
///
/// Dropping it ends the wait.
struct Waiter {
    waiting: Arc<Waiting>,
    name: Box<[u8]>,
    woken: watch::Receiver<bool>,
}

impl Pushes {
    /// Waits until the lease of the key with this name ends in any way but by time, on the server that `dialer` leads to.
    ///
    /// # Errors
    /// If the server cannot tell.
    ///
    /// # Cancel safety
    /// Cancel safe. The registration ends with the future; a push that comes later is ignored.
    pub(crate) async fn entry_changed(
        &self,
        server: ServerId,
        dialer: Dialer,
        runtime: &Handle,
        name: Box<[u8]>,
    ) -> Result<()> {
        let Watched { mut wire, address, waiting } = self.watched(server, dialer, runtime).await?;
        // Registered before the key is read: a change after the reading wakes it.
        let Some(mut waiter) = Waiting::enter(&waiting, name) else { return Err(lost(&address)) };
        let mut command = redis::cmd("GETRANGE");
        command.arg(&*waiter.name).arg(TOKEN.0).arg(TOKEN.1);
        let token = wire.send_packed_command(&command).await.and_then(into_result);
        let token = token.map_err(|error| address.error(&error))?;
        let is_held = matches!(&token, Value::BulkString(token) if token.iter().any(|byte| *byte != 0));
        if is_held && waiter.woken.wait_for(|woken| *woken).await.is_err() {
            return Err(lost(&address));
        }
        Ok(())
    }

    /// Returns the connection to a server; the first call opens it.
    async fn watched(&self, server: ServerId, dialer: Dialer, runtime: &Handle) -> Result<Watched> {
        let slot = self.slot(server);
        let mut slot = slot.lock_owned().await;
        match &*slot {
            Slot::Open(watched) if !watched.waiting.is_lost() => return Ok(watched.clone()),
            Slot::Failed(until) if Instant::now() < *until => {
                return Err(dialer.address().unavailable("does not tell when an entry changes"));
            }
            _ => {}
        }
        // A task of its own: a reader that stops waiting does not stop the connection from being opened for the next.
        let opened = runtime.spawn(async move {
            let opened = open(&dialer, server).await;
            *slot = match &opened {
                Ok(watched) => Slot::Open(watched.clone()),
                Err(error) => {
                    tracing::debug!(error = %error.chain(), "Redis does not wake readers: they ask again after pauses");
                    Slot::Failed(Instant::now() + dialer.settings().reconnect_max)
                }
            };
            opened
        });
        opened.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Returns the place of the connection to a server. Places of servers whose connection was lost are removed.
    fn slot(&self, server: ServerId) -> Arc<AsyncMutex<Slot>> {
        // No code panics while it holds the lock.
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if !servers.contains_key(&server) {
            servers.retain(|_, slot| slot.try_lock().is_ok_and(|slot| slot.is_usable()));
        }
        Arc::clone(servers.entry(server).or_default())
    }
}

impl Slot {
    fn is_usable(&self) -> bool {
        matches!(self, Self::Open(watched) if !watched.waiting.is_lost())
    }
}

/// The part of an entry that has the lease's token, first and last byte.
const TOKEN: (usize, usize) =
    (cachefront_core::entry::TOKEN_OFFSET, cachefront_core::entry::TOKEN_OFFSET + size_of::<u128>() - 1);

/// Opens a connection, and turns tracking on.
///
/// # Errors
/// `Unavailable` if the server lacks RESP3 or tracking, or if it is not the one that readers are
/// on: a push from a former primary would come too late.
async fn open(dialer: &Dialer, server: ServerId) -> Result<Watched> {
    let waiting = Arc::new(Waiting::default());
    let pushed = Arc::clone(&waiting);
    let Connection { mut wire, identity } = dialer.dial_for_pushes(move |push| pushed.pushed(push)).await?;
    let address = identity.address().clone();
    if !identity.server().is_same(server) {
        return Err(address.unavailable("is another server for those who wait than for readers"));
    }
    let mut command = redis::cmd("CLIENT");
    command.arg("TRACKING").arg("ON");
    wire.send_packed_command(&command).await.and_then(into_result).map_err(|error| address.error(&error))?;
    Ok(Watched { wire, address, waiting })
}

/// The error of those that wait when the connection ends. They ask the store again after a pause.
fn lost(address: &Address) -> cachefront_core::Error {
    address.unavailable("has closed the connection that tells when an entry changes")
}

impl Waiting {
    /// Begins to wait for a change of a key. Returns `None` if the connection is gone.
    fn enter(this: &Arc<Self>, name: Box<[u8]>) -> Option<Waiter> {
        let mut keys = this.lock();
        if keys.lost {
            return None;
        }
        let woken = keys.by_name.entry(name.clone()).or_insert_with(|| watch::Sender::new(false)).subscribe();
        drop(keys);
        Some(Waiter { waiting: Arc::clone(this), name, woken })
    }

    /// Handles a push: wakes those that wait for the keys that it names.
    ///
    /// It runs in the task that reads the connection, so it must not block: it holds the lock for
    /// as long as it takes to remove the names from a map.
    fn pushed(&self, push: PushInfo) {
        let mut keys = self.lock();
        match (push.kind, push.data.into_iter().next()) {
            (PushKind::Invalidate, Some(Value::Array(names))) => {
                for name in names {
                    if let Value::BulkString(name) = name
                        && let Some(sender) = keys.by_name.remove(&*name)
                    {
                        sender.send_replace(true);
                    }
                }
            }
            // The server was emptied: every key has changed.
            (PushKind::Invalidate, _) => {
                for (_, sender) in keys.by_name.drain() {
                    sender.send_replace(true);
                }
            }
            (PushKind::Disconnection, _) => {
                keys.lost = true;
                // Those that wait see that their sender is gone.
                keys.by_name.clear();
            }
            _ => {}
        }
    }

    fn is_lost(&self) -> bool {
        self.lock().lost
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiter {
    /// The last one that waits for a key removes it.
    fn drop(&mut self) {
        let mut keys = self.waiting.lock();
        // A sender that has woken this waiter is gone; the one that is there now has others to wake.
        let is_woken = self.woken.has_changed().is_err();
        if !is_woken && keys.by_name.get(&*self.name).is_some_and(|sender| sender.receiver_count() <= 1) {
            keys.by_name.remove(&*self.name);
        }
    }
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(kind: PushKind, names: &[&str]) -> PushInfo {
        let names = names.iter().map(|name| Value::BulkString(name.as_bytes().to_vec())).collect();
        PushInfo { kind, data: vec![Value::Array(names)] }
    }

    fn enter(waiting: &Arc<Waiting>, name: &str) -> Waiter {
        Waiting::enter(waiting, name.as_bytes().into()).expect("the connection is there")
    }

    #[tokio::test]
    async fn a_push_wakes_those_that_wait_for_its_keys_and_no_others() {
        let waiting = Arc::new(Waiting::default());
        let [mut one, mut same, other] = ["a", "a", "b"].map(|name| enter(&waiting, name));
        waiting.pushed(push(PushKind::Invalidate, &["a", "unknown"]));
        for waiter in [&mut one, &mut same] {
            assert!(waiter.woken.wait_for(|woken| *woken).await.is_ok());
        }
        assert!(!*other.woken.borrow());
        let later = enter(&waiting, "a");
        assert!(!*later.woken.borrow(), "it waits for the next change");
        drop((one, same));
        waiting.pushed(push(PushKind::Invalidate, &["a"]));
        assert!(*later.woken.borrow(), "those that were woken before do not take its place");
    }

    #[tokio::test]
    async fn all_are_woken_when_the_connection_is_lost() {
        let waiting = Arc::new(Waiting::default());
        let woken = enter(&waiting, "a");
        waiting.pushed(PushInfo { kind: PushKind::Invalidate, data: vec![Value::Nil] });
        assert!(*woken.woken.borrow());
        let mut lost = enter(&waiting, "a");
        waiting.pushed(PushInfo { kind: PushKind::Disconnection, data: Vec::new() });
        assert!(lost.woken.wait_for(|woken| *woken).await.is_err());
        assert!(waiting.is_lost() && Waiting::enter(&waiting, b"a"[..].into()).is_none());
    }

    #[test]
    fn keys_are_forgotten_with_those_that_wait() {
        let waiting = Arc::new(Waiting::default());
        let [one, same] = ["a", "a"].map(|name| enter(&waiting, name));
        drop(one);
        assert_eq!(waiting.lock().by_name.len(), 1);
        drop(same);
        assert!(waiting.lock().by_name.is_empty());
    }
}
