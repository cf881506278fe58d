//! Follows the bus once for all caches of a process on one store.
//!
//! A cache's process-local tier is on only while the follower knows that every invalidation reaches it: the messages come
//! from one publisher without a gap, over a connection to one server; the publisher covers the cache under this process's
//! mapping; and it has not been silent for long. In any doubt the tier is turned off and cleared; only a heartbeat of a
//! publisher that covers the cache turns it on again.
//!
//! A cache that no publisher covers (it depends on no table, or its values end by age) may use its tier nevertheless: then only
//! invalidations by hand reach it, from other processes. It is cleared when one of them may have been lost, and again when
//! the next subscription has noted the head of the bus, unless nothing was published in between.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::backoff::Backoff;
use crate::bus::contract::{BusReader, InvalidationBus};
use crate::bus::message::{BusEvent, BusMessage, BusRead, Publisher};
use crate::clock::{Clock, Entropy, Sleep, Timestamp};
use crate::identity::ServerId;
use crate::key::StoreKey;
use crate::mapping::MappingId;
use crate::position::Position;

/// A cache that is notified of bus messages. No method blocks.
pub(crate) trait Listener: Send + Sync {
    /// Returns the cache's name.
    fn cache(&self) -> &str;

    /// Returns the cache's mapping in this process; `None` if the cache depends on no table.
    fn mapping(&self) -> Option<MappingId>;

    /// Returns how long the publisher may be silent before it counts as dead, for this cache.
    fn silence_max(&self) -> Duration;

    /// Returns true between [`start`](Listener::start) and [`stop`](Listener::stop).
    fn is_started(&self) -> bool;

    /// From now on every invalidation reaches the cache, over a connection to this server.
    fn start(&self, server: ServerId);

    /// A publisher lives: it has sent something.
    fn heard(&self);

    /// Invalidations may have been lost.
    fn stop(&self, reason: &'static str);

    /// The key with this text was invalidated. A text that is too long for a key invalidates every key, because it is not known which
    /// one was meant.
    fn invalidate(&self, key: &str);

    /// Every key was invalidated.
    fn invalidate_all(&self);

    /// The position up to which everything was handled. Called only between [`start`](Listener::start) and
    /// [`stop`](Listener::stop).
    fn handled(&self, applied: &Position, source_time: Timestamp);

    /// A message took this long from the publisher to this process.
    fn delayed(&self, delay: Duration);
}

/// The timing of a follower.
#[derive(Clone)]
pub(crate) struct Pace {
    /// For pauses and delays.
    pub(crate) clock: Arc<dyn Clock>,
    /// For the jitter of pauses.
    pub(crate) entropy: Arc<dyn Entropy>,
    /// The first pause before a new subscription.
    pub(crate) pause_min: Duration,
    /// The maximum pause before a new subscription.
    pub(crate) pause_max: Duration,
}

/// One follower of a store's bus, shared by all caches of a process on that store. See [`Store::hub`].
///
/// The first cache that joins starts the follower, in the current tokio runtime. It ends with the last cache.
///
/// [`Store::hub`]: crate::store::Store::hub
#[derive(Default)]
pub struct Hub {
    members: Arc<Members>,
}

#[derive(Default)]
struct Members {
    /// The caches that joined.
    listeners: Mutex<Vec<Weak<dyn Listener>>>,
    /// The task that follows the bus, while there is one.
    follower: Mutex<Option<AbortHandle>>,
}

impl Hub {
    /// Creates a hub without a follower; the first cache starts it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a cache, and starts the follower in the current tokio runtime unless one is running.
    pub(crate) fn join(&self, bus: Arc<dyn InvalidationBus>, pace: Pace, listener: &Arc<dyn Listener>) {
        self.members.all().push(Arc::downgrade(listener));
        self.keep_following(|| (bus, pace));
    }

    /// Starts the follower in the current tokio runtime unless one is running: the runtime of the last one may have ended.
    pub(crate) fn keep_following(&self, parts: impl FnOnce() -> (Arc<dyn InvalidationBus>, Pace)) {
        let mut running = self.members.running();
        if running.as_ref().is_none_or(AbortHandle::is_finished) {
            let (bus, pace) = parts();
            let follower = Follower::new(bus, pace, Arc::clone(&self.members));
            *running = Some(tokio::spawn(follower.run()).abort_handle());
        }
    }

    /// Returns the mapping of the cache of this name in this process; `None` if there is no such cache.
    pub(crate) fn mapping_of(&self, cache: &str) -> Option<Option<MappingId>> {
        let listeners = self.members.living();
        listeners.iter().find(|listener| listener.cache() == cache).map(|listener| listener.mapping())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(follower) = self.members.running().take() {
            follower.abort();
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("caches", &self.members.living().len()).finish_non_exhaustive()
    }
}

impl Members {
    /// No code panics while it holds the lock.
    fn all(&self) -> MutexGuard<'_, Vec<Weak<dyn Listener>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No code panics while it holds the lock.
    fn running(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        self.follower.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if the follower must end because no cache is left. A cache that joins later starts another one.
    fn retire(&self) -> bool {
        let mut running = self.running();
        let last = self.living().is_empty();
        if last {
            *running = None;
        }
        last
    }

    /// Returns the caches that still exist, and forgets the others.
    fn living(&self) -> Vec<Arc<dyn Listener>> {
        let mut listeners = self.all();
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.iter().filter_map(Weak::upgrade).collect()
    }
}

/// The publisher that is followed, and what is known of it.
#[derive(Default)]
struct Followed {
    /// The session of the invalidator.
    publisher: Publisher,
    /// The server that its messages are read from.
    server: ServerId,
    /// The mappings that the publisher covers; `None` until its next heartbeat.
    covered: Option<Vec<MappingId>>,
    /// The newest source time of the publisher.
    source_time: Timestamp,
}

/// Where the last subscription ended.
#[derive(Clone, Copy)]
enum Handled {
    /// There was none.
    Nothing,
    /// With this message of this server.
    Upto(ServerId, u64),
    /// Messages may have been lost.
    Lost,
}

/// The task's state: it reads the bus, and notifies the caches.
struct Follower {
    bus: Arc<dyn InvalidationBus>,
    pace: Pace,
    members: Arc<Members>,
    followed: Followed,
    /// Up to which message everything was handled.
    handled: Handled,
}

impl Follower {
    fn new(bus: Arc<dyn InvalidationBus>, pace: Pace, members: Arc<Members>) -> Self {
        Self { bus, pace, members, followed: Followed::default(), handled: Handled::Nothing }
    }

    /// Follows the bus until the task is aborted or no cache is left.
    async fn run(mut self) {
        let mut backoff = Backoff::new(self.pace.pause_min, self.pace.pause_max);
        while !self.members.retire() {
            match self.bus.subscribe().await {
                Ok(reader) => {
                    if self.follow(reader).await {
                        backoff.reset();
                    }
                }
                Err(error) => tracing::debug!(error = %error.chain(), "the bus cannot be subscribed to"),
            }
            backoff.pause(&*self.pace.clock, &*self.pace.entropy).await;
        }
    }

    /// Completes when the bus was silent for longer than one of these caches allows.
    fn silence(&self, listeners: &[Arc<dyn Listener>]) -> Sleep {
        let shortest = listeners.iter().map(|listener| listener.silence_max()).min();
        self.pace.clock.sleep(shortest.unwrap_or_default())
    }

    /// Follows one reader until messages may have been lost. Returns true if it delivered a message.
    async fn follow(&mut self, mut reader: Box<dyn BusReader>) -> bool {
        // The reader has noted the head of the bus: everything newer will be read.
        let (server, mut sequence) = (reader.server(), reader.head());
        self.continue_from(server, sequence);
        let (mut delivered, mut silent) = (false, false);
        let mut silence = self.silence(&self.members.living());
        loop {
            let reads = tokio::select! {
                biased;
                reads = reader.next() => reads,
                () = &mut silence => {
                    self.stop_all("silence");
                    // It may be a server that publishers no longer write to: after a second silence, subscribe again. A
                    // loop without caches ends here too.
                    let listeners = self.members.living();
                    if silent || listeners.is_empty() {
                        return delivered;
                    }
                    silent = true;
                    silence = self.silence(&listeners);
                    continue;
                }
            };
            let Ok(reads) = reads else {
                self.doubt("connection");
                return delivered;
            };
            let listeners = self.members.living();
            for read in reads {
                if read.sequence != sequence + 1 {
                    self.handled = Handled::Lost;
                    self.doubt("gap");
                    return delivered;
                }
                sequence = read.sequence;
                delivered = true;
                if read.message.publisher != Publisher::READER {
                    silent = false;
                    silence = self.silence(&listeners);
                    listeners.iter().for_each(|listener| listener.heard());
                }
                self.handle(&read, &listeners);
                self.handled = Handled::Upto(server, sequence);
            }
        }
    }

    /// Notes where a new subscription begins. What was put into a tier before this may be older than a message that no reader has
    /// delivered, unless the last reader ended exactly here, or nothing was ever published.
    fn continue_from(&mut self, server: ServerId, head: u64) {
        let continued = match self.handled {
            Handled::Nothing => head == 0,
            Handled::Upto(last, sequence) => last.is_same(server) && sequence == head,
            Handled::Lost => false,
        };
        self.handled = Handled::Upto(server, head);
        if !continued {
            self.clear_uncovered();
        }
    }

    /// Handles one message: first its invalidations, then whether it is from the followed publisher, then what it proves.
    fn handle(&mut self, read: &BusRead, listeners: &[Arc<dyn Listener>]) {
        let message = &read.message;
        apply(&message.event, listeners);
        if message.sent_at.is_known() {
            let delay = self.pace.clock.now().since(message.sent_at);
            listeners.iter().for_each(|listener| listener.delayed(delay));
        }
        if message.publisher == Publisher::READER {
            return;
        }
        if message.publisher != self.followed.publisher || read.server != self.followed.server {
            if self.followed.publisher != Publisher::READER {
                self.doubt("publisher");
            }
            self.followed.publisher = message.publisher;
            self.followed.server = read.server;
        }
        if message.source_time.is_known() {
            self.followed.source_time = message.source_time;
        }
        match &message.event {
            BusEvent::Heartbeat(covered) => self.cover(covered, listeners),
            // A time from before the flush proves nothing about what follows it.
            BusEvent::Flush => self.followed.source_time = message.source_time,
            _ => {}
        }
        self.prove(message, listeners);
    }

    /// Turns on the tiers that the publisher covers, and turns off the others.
    fn cover(&mut self, covered: &[MappingId], listeners: &[Arc<dyn Listener>]) {
        let before = self.followed.covered.take();
        let kept = |mapping: MappingId| before.as_ref().is_some_and(|before| before.contains(&mapping));
        for listener in listeners {
            let Some(mapping) = listener.mapping() else { continue };
            let started = listener.is_started();
            match covered.contains(&mapping) {
                true if !started || !kept(mapping) => listener.start(self.followed.server),
                false if started => listener.stop("not_covered"),
                _ => {}
            }
        }
        self.followed.covered = Some(covered.to_vec());
    }

    /// Passes the position of a message to the caches whose tiers are on.
    fn prove(&self, message: &BusMessage, listeners: &[Arc<dyn Listener>]) {
        let Some(applied) = &message.applied else { return };
        for listener in listeners.iter().filter(|listener| listener.is_started()) {
            listener.handled(applied, self.followed.source_time);
        }
    }

    /// Messages may have been lost: turns off every tier until the next heartbeat, and clears those that need none.
    fn doubt(&mut self, reason: &'static str) {
        self.clear_uncovered();
        self.stop_all(reason);
    }

    /// Turns off every tier that a publisher had turned on, until the next heartbeat.
    fn stop_all(&mut self, reason: &'static str) {
        self.followed = Followed::default();
        let listeners = self.members.living();
        listeners.iter().filter(|listener| listener.is_started()).for_each(|listener| listener.stop(reason));
    }

    /// Clears the tiers that no publisher has turned on. A cache in TTL mode uses its tier all the same, and so does one that
    /// depends on no table: an invalidation by hand may have been lost.
    fn clear_uncovered(&self) {
        let listeners = self.members.living();
        listeners.iter().filter(|listener| !listener.is_started()).for_each(|listener| listener.invalidate_all());
    }
}

impl Drop for Follower {
    /// A runtime that shuts down drops its tasks; the caches may still be used in another one.
    fn drop(&mut self) {
        self.doubt("closed");
    }
}

/// Applies the invalidations of a message.
fn apply(event: &BusEvent, listeners: &[Arc<dyn Listener>]) {
    match event {
        BusEvent::Keys(keys) => {
            for text in keys {
                for listener in named(listeners, StoreKey::cache_of(text)) {
                    listener.invalidate(text);
                }
            }
        }
        BusEvent::Caches(caches) => {
            caches.iter().flat_map(|cache| named(listeners, cache)).for_each(|listener| listener.invalidate_all());
        }
        BusEvent::Flush => listeners.iter().for_each(|listener| listener.invalidate_all()),
        BusEvent::Heartbeat(_) => {}
    }
}

/// Returns the caches of this name.
fn named<'a>(listeners: &'a [Arc<dyn Listener>], cache: &'a str) -> impl Iterator<Item = &'a Arc<dyn Listener>> {
    listeners.iter().filter(move |listener| listener.cache() == cache)
}

#[cfg(test)]
mod tests;
