//! The shared tier: what a cache reads from its store, leases there and fills.
//!
//! No error of the store leaves this file: a failed read is a miss, a failed lease means that the value is loaded and not
//! stored, and a failed fill means that it is returned and not cached. So an outage costs latency and never a read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;

use crate::breaker::Breaker;
use crate::cache::hit::{Loaded, Tier};
use crate::cache::level::Level;
use crate::cache::log_limit::LogLimits;
use crate::cache::mode_switch::ModeSwitch;
use crate::cache::serving::ServingMode;
use crate::cache::subscription::Subscription;
use crate::cache::tags::{Look, Mark};
use crate::cache::tasks::Tasks;
use crate::clock::{Clock, Entropy, Stopwatch, Timestamp};
use crate::codec::{Codec, Compression};
use crate::entry::{HEADER_BYTES, fill_position};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::{Generation, ServerId, Token};
use crate::key::StoreKey;
use crate::mapping::MappingId;
use crate::metrics::CacheMetrics;
use crate::mode::InvalidationMode;
use crate::position::Position;
use crate::store::{LeaseReply, LeaseRequest, Meta, Reading, Store};

/// One cache's view of the shared store.
pub(super) struct SharedTier<V> {
    /// The cache's name, part of every key.
    pub(super) cache: Arc<str>,
    pub(super) store: Arc<dyn Store>,
    /// Reads go to the database while the store fails or is slow.
    pub(super) breaker: Breaker,
    pub(super) codec: Arc<dyn Codec<V>>,
    /// How encoded values are compressed.
    pub(super) compression: Option<Compression>,
    /// Size of the last encoded value, in bytes: the next one is encoded into as much room, so that it rarely has to grow.
    pub(super) encoded_bytes: AtomicUsize,
    /// Maximum size of an encoded value, in bytes.
    pub(super) value_bytes_max: usize,
    pub(super) schema_version: u32,
    /// The cache under its mapping: it is cached only while the store's meta covers it.
    pub(super) mapping: MappingId,
    /// Values may have tags.
    pub(super) tagged: bool,
    /// How long a marker of a tag lives.
    pub(super) tag_ttl: Duration,
    /// The pause before a marker that another process makes is read again.
    pub(super) tag_poll: Duration,
    /// The cache declares the replicas that its loader reads.
    pub(super) declares_replicas: bool,
    /// The rule by which values are kept correct.
    pub(super) mode: ModeSwitch,
    /// A value is kept only if its position covers the fence.
    pub(super) fenced: bool,
    /// How long a lease is valid.
    pub(super) lease: Duration,
    /// How long a load waits until its fence is known.
    pub(super) fence_wait: Duration,
    /// The first pause before it looks again, which doubles up to the maximum: each of many keys looks by itself.
    pub(super) fence_poll_min: Duration,
    pub(super) fence_poll_max: Duration,
    /// Maximum difference between clocks, added to staleness bounds.
    pub(super) clock_skew: Duration,
    /// How long a value is served after its time to live.
    pub(super) stale_while_revalidate: Duration,
    /// Values carry the end of their time to live, for refreshes in the background.
    pub(super) refreshes: bool,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    /// Tells whether a server that grants a lease is the one that the bus is read from.
    pub(super) subscription: Arc<Subscription>,
    /// The server whose log is followed, as last read from the store; empty until then.
    pub(super) log_origin: ArcSwap<Box<str>>,
    /// True once a warning was logged that no invalidator covers this cache.
    pub(super) uncovered: AtomicBool,
    /// Bounds what each read can log.
    pub(super) logs: LogLimits,
    pub(super) metrics: CacheMetrics,
    /// The loads that run apart from their readers.
    pub(super) tasks: Arc<Tasks>,
}

/// The result of a lookup in the shared store.
pub(super) enum Lookup<V> {
    /// A value that satisfies the read.
    Hit(Stored<V>),
    /// No value that may be served.
    Miss,
    /// A valid value that is not proven fresh enough for this read.
    Unproven,
    /// A valid value that a plain read is not served, because the freshness objective is not met.
    Outdated,
    /// A value of which a tag was invalidated.
    TagInvalidated,
}

/// A value from the shared store, with what is known about it.
pub(super) struct Stored<V> {
    pub(super) value: Option<V>,
    /// The clock before the value's load; unknown if it was loaded from a replica.
    pub(super) filled_at: Timestamp,
    /// When the value stops being served; unknown for never.
    pub(super) expires_at: Timestamp,
    /// When the value's time to live ends; unknown if it is not refreshed in the background.
    pub(super) soft_expiry: Timestamp,
    /// How long its load took, in µs.
    pub(super) load_cost_us: u32,
    /// The server that the value was read from.
    pub(super) server: ServerId,
    /// The whole entry: its fill position is parsed only on demand.
    pub(super) entry: Bytes,
    /// Where its payload begins, and its fill position ends.
    pub(super) body: usize,
    /// The meta that proves the least of those that were read: of the value's shard, and of the shards of its tags' markers.
    pub(super) meta: Option<Arc<Meta>>,
    /// The value's tags, which must be compared with their markers before it is served.
    pub(super) marks: Vec<Mark>,
    /// Size of the encoded value, in bytes.
    pub(super) weight: usize,
}

impl<V> Stored<V> {
    /// Returns when the value's time to live ends.
    pub(super) fn fresh_until(&self) -> Timestamp {
        if self.soft_expiry.is_known() { self.soft_expiry } else { self.expires_at }
    }

    /// Returns the value as the result of a load that another process made.
    pub(super) fn into_loaded(self) -> Loaded<V> {
        Loaded {
            position: self.loaded(),
            value: self.value,
            tier: Tier::Shared,
            filled_at: self.filled_at,
            loaded_at: Timestamp::UNKNOWN,
            primary: true,
            known_primary: false,
            expires_at: self.expires_at,
            accepted: true,
        }
    }

    /// Returns a copy of the whole entry, as stored. The entry itself may be a part of a reply with many.
    pub(super) fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.entry)
    }

    /// Returns what the loader's server had executed; `None` if that is not known.
    pub(super) fn loaded(&self) -> Option<Position> {
        fill_position(self.entry.get(HEADER_BYTES..self.body)?)
    }
}

/// The right to fill a key.
pub(super) struct Lease {
    pub(super) token: Token,
    pub(super) mode: InvalidationMode,
    /// Granted by the server that the bus is read from: a value loaded under it may be cached in this process too.
    pub(super) followed: bool,
    /// The tags of the value that is to be stored.
    pub(super) marks: Vec<Mark>,
    pub(super) meta: Option<Arc<Meta>>,
    /// What the loader's server must have executed; `None` if the cache is not fenced.
    pub(super) fence: Option<Position>,
    /// It is left to expire if its value is not stored.
    pub(super) outlasts_refusal: bool,
}

impl Lease {
    /// The token of this attempt.
    pub(super) fn token(&self) -> Token {
        self.token
    }

    /// Returns the cache's generation when the lease was granted.
    pub(super) fn generation(&self, mapping: MappingId) -> Generation {
        let meta = self.meta.as_ref().filter(|_| self.mode == InvalidationMode::Cdc);
        meta.and_then(|meta| meta.coverage.generation(mapping)).unwrap_or_default()
    }
}

/// The result of a lease request.
pub(super) enum Leased<V> {
    /// Load, then fill.
    Granted(Lease),
    /// Load, and do not fill.
    Without,
    /// Another process has filled the key.
    Present(Loaded<V>),
    /// Another attempt holds the lease, for this time at most.
    Held(Duration),
}

impl<V> SharedTier<V> {
    /// Returns the current mode.
    pub(super) fn mode(&self) -> InvalidationMode {
        self.mode.get()
    }
}

impl<V: Send + Sync + 'static> SharedTier<V> {
    /// Returns the request for the lease of a key of this cache.
    pub(super) fn lease_request<'a>(&self, key: &'a StoreKey, token: Token) -> LeaseRequest<'a> {
        LeaseRequest {
            key,
            token,
            duration: self.lease,
            mode: self.mode(),
            mapping: self.mapping,
            schema_version: self.schema_version,
            reload: false,
        }
    }

    /// Requests the right to fill a key. An entry that the store considers valid and this release cannot decode is loaded over.
    pub(super) async fn lease(&self, key: &StoreKey, reload: bool) -> Leased<V> {
        match self.lease_once(key, reload).await {
            Some(leased) => leased,
            None => self.lease_once(key, true).await.unwrap_or(Leased::Without),
        }
    }

    /// Returns `None` if there is an entry that this release cannot decode.
    async fn lease_once(&self, key: &StoreKey, reload: bool) -> Option<Leased<V>> {
        if self.subscription.serving() == ServingMode::ReadOnly {
            return Some(Leased::Without);
        }
        let Some(token) = Token::from_u128(self.entropy.random_u128()) else {
            return Some(Leased::Held(Duration::ZERO));
        };
        let request = LeaseRequest { reload, ..self.lease_request(key, token) };
        let mode = request.mode;
        let Some(reply) = self.ask_for_lease(&request).await else { return Some(Leased::Without) };
        Some(match reply {
            LeaseReply::Granted { server, meta } => {
                self.note_covered(true);
                let followed = self.subscription.follows(server, meta.as_deref());
                // Under TTL mode a meta is what an invalidator has left behind: it says nothing about the values.
                let meta = meta.filter(|_| mode == InvalidationMode::Cdc);
                self.note_origin(meta.as_deref());
                let mut lease =
                    Lease { token, mode, followed, marks: Vec::new(), meta, fence: None, outlasts_refusal: false };
                if self.fenced && mode == InvalidationMode::Cdc {
                    lease.fence = self.fence(key, server, lease.meta.clone()).await;
                    if lease.fence.is_none() {
                        self.metrics.fill_refused("no_fence");
                        self.release(key, &lease).await;
                        return Some(Leased::Without);
                    }
                }
                Leased::Granted(lease)
            }
            LeaseReply::NoMeta => Leased::Without,
            LeaseReply::NotCovered => {
                self.note_covered(false);
                Leased::Without
            }
            LeaseReply::Present { meta, entry } => return self.present(meta, entry).await,
            LeaseReply::Held { remaining } => Leased::Held(remaining),
        })
    }

    /// Requests a lease. The store may have granted one whose reply was lost or came too late: it is released, so that no other reader
    /// waits for a load that is never made.
    pub(super) async fn ask_for_lease(&self, request: &LeaseRequest<'_>) -> Option<LeaseReply> {
        let mut unknown = false;
        let asked = async {
            let reply = self.store.lease(request).await;
            unknown = matches!(&reply, Err(error) if is_outage(error));
            reply
        };
        let reply = self.guarded("lease", asked).await;
        if unknown && let Ok(running) = self.tasks.begin(&self.cache) {
            let (store, key, token) = (Arc::clone(&self.store), request.key.clone(), request.token);
            running.spawn(async move {
                // If it fails, the lease expires.
                let _ = store.release(&key, token).await;
            });
        }
        reply
    }

    /// Returns the fence of a lease that was granted under `meta`: a position that covers everything that was sent to the store
    /// before the grant ("Fence"). While the high watermark is above the order of `applied`, something was sent that `applied`
    /// does not cover yet: then the meta is read again, for a bounded time. A later fence is a stronger one.
    async fn fence(&self, key: &StoreKey, granted_by: ServerId, mut meta: Option<Arc<Meta>>) -> Option<Position> {
        let mut waited = Stopwatch::begin(&*self.clock);
        let mut pause = self.fence_poll_min;
        loop {
            let current = meta.filter(|meta| meta.is_live())?;
            if current.high_watermark <= current.applied_order {
                return Some(current.applied().clone());
            }
            if waited.passed(&*self.clock) >= self.fence_wait {
                return None;
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(self.fence_poll_max);
            let reading = self.guarded("get", self.store.get(key)).await?;
            meta = reading.meta.filter(|_| reading.server.is_same(granted_by));
        }
    }

    /// Evaluates an entry that another process filled between this reader's lookup and its lease request, or that this process
    /// cannot decode.
    async fn present(&self, meta: Option<Arc<Meta>>, entry: Bytes) -> Option<Leased<V>> {
        let reading = Reading { server: ServerId::UNKNOWN, meta, entry: Some(entry) };
        match self.evaluate_present(reading, self.clock.now()).await? {
            Lookup::Hit(stored) => Some(Leased::Present(stored.into_loaded())),
            _ => Some(Leased::Without),
        }
    }

    /// Releases a lease without a fill.
    pub(super) async fn release(&self, key: &StoreKey, lease: &Lease) {
        self.guarded("release", self.store.release(key, lease.token)).await;
    }

    /// Logs when the cache is no longer covered, and when it is again; once each.
    fn note_covered(&self, covered: bool) {
        if self.uncovered.load(Ordering::Relaxed) != covered
            || self.uncovered.swap(!covered, Ordering::SeqCst) != covered
        {
            return;
        }
        if covered {
            tracing::info!(cache = %self.cache, "an invalidator covers this cache: values are cached again");
        } else {
            tracing::warn!(
                cache = %self.cache,
                namespace = %self.store.namespace(),
                "no invalidator of the namespace covers this cache under this mapping: no value is cached; bind the cache \
                 to the invalidator, run one release only, or give the service a namespace of its own"
            );
        }
    }

    /// Calls the store for a reader. Returns `None` if the call failed, or if the circuit breaker refuses it.
    pub(super) async fn guarded<T>(&self, operation: &'static str, call: impl Future<Output = Result<T>>) -> Option<T> {
        self.guarded_at(operation, call).await.map(|(reply, _)| reply)
    }

    /// The same, with the time at which the reply came.
    pub(super) async fn guarded_at<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T>>,
    ) -> Option<(T, Timestamp)> {
        let admitted = self.breaker.call()?;
        let outcome = call.await;
        let now = admitted.end(matches!(&outcome, Err(error) if is_outage(error)));
        match outcome {
            Ok(reply) => {
                self.metrics.store_replied();
                Some((reply, now))
            }
            Err(error) => {
                self.failed(operation, &error);
                None
            }
        }
    }

    /// Records a failed operation. Reads treat it as a miss and load from the database.
    fn failed(&self, operation: &'static str, error: &Error) {
        self.metrics.store_failed(operation);
        if !is_outage(error) {
            if let Some(withheld) = self.logs.store_failed.pass(self.clock.now()) {
                tracing::warn!(cache = %self.cache, operation, error = %error.chain(), withheld, "a store operation failed; reads use the database");
            }
        } else {
            tracing::debug!(cache = %self.cache, operation, error = %error.chain(), "the store is not reachable; reads use the database");
        }
    }

    /// Reads one key for a peek.
    ///
    /// # Errors
    /// As [`Store`].
    pub(super) async fn peek(&self, key: &StoreKey) -> Result<Option<Stored<V>>> {
        let reading = self.store.peek(key).await?;
        match self.evaluate_one(reading, &Level::EVENTUAL, self.clock.now(), Look::Peek).await {
            Lookup::Hit(stored) => Ok(Some(stored)),
            _ => Ok(None),
        }
    }
}

/// Returns true if the store could not be reached, or did not reply in time.
fn is_outage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout)
}
