//! The harness of the laws: a store with a current generation, and short functions for its operations.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::StoreFixture;
use crate::clock::{Entropy, SystemEntropy, Timestamp};
use crate::entry::{Entry, Header, PayloadState};
use crate::error::{ErrorKind, Result};
use crate::key::StoreKey;
use crate::position::Gtid;
use crate::source::Checkpoint;
use crate::store::{
    Applied, Coverage, Covered, Expected, Fill, FillReply, Generation, Invalidation, InvalidationMode, LeaseReply,
    LeaseRequest, MappingId, Meta, Reading, Store, StoreState, StoreWriter, Token,
};

/// Longer than a slow test takes.
pub(super) const LONG: Duration = Duration::from_secs(600);

/// The schema version of the laws' entries.
pub(super) const SCHEMA: u32 = 3;

/// The initial order of the high watermark and of `applied`.
pub(super) const START: u64 = 10;

/// The server of the suite's positions.
pub(super) const ORIGIN: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

/// Returns a key of the laws' one cache.
pub(super) fn key(id: u64) -> StoreKey {
    StoreKey::encode("suite", &id).expect("a short key")
}

/// Returns a random token.
pub(super) fn token() -> Token {
    Token::from_u128(SystemEntropy.random_u128()).expect("not zero, but once in 2^128 times")
}

/// Returns a random generation.
pub(super) fn generation() -> Generation {
    Generation(SystemEntropy.random_u128())
}

/// Returns a checkpoint with the transactions 1 to `number`, and resume data that is different for each.
pub(super) fn checkpoint(number: u64) -> Checkpoint {
    let position = format!("{ORIGIN}:1-{number}").parse().expect("a position");
    Checkpoint { position, resume: Bytes::from(format!("note {number}")) }
}

/// The mapping of the laws' one cache.
pub(super) const MAPPING: MappingId = MappingId(7);

/// The coverage of the laws' one cache, with this generation.
pub(super) fn coverage(generation: Generation) -> Coverage {
    Coverage::new([Covered { mapping: MAPPING, generation, cache: "suite".into() }])
}

/// Returns a meta of this generation in which everything up to `order` is applied.
pub(super) fn meta(generation: Generation, term: u64, order: u64) -> Meta {
    Meta::at_head(generation, term, order, 1, ORIGIN, &checkpoint(order)).covering(coverage(generation))
}

/// Returns the `applied` of a batch of this order.
pub(super) fn applied(order: u64, source_time: u64) -> Applied {
    Applied { order, checkpoint: checkpoint(order), source_time: Timestamp::from_micros(source_time) }
}

/// Checks that an outcome is a conflict.
pub(super) fn conflict(outcome: Result<()>, what: &str) {
    let error = outcome.expect_err(what);
    assert_eq!(error.kind(), ErrorKind::Conflict, "{what}: {error}");
}

/// Returns the header of a valid entry.
pub(super) fn header(mode: InvalidationMode, generation: Generation, order: u64) -> Header {
    Header {
        state: PayloadState::Fresh,
        mode,
        codec: 1,
        compression: 0,
        schema_version: SCHEMA,
        generation,
        order,
        filled_at: Timestamp::from_micros(5),
        soft_expiry: Timestamp::UNKNOWN,
        hard_expiry: Timestamp::UNKNOWN,
        load_cost_us: 7,
        position: Bytes::from_static(b"3e11fa47-71ca-11e1-9e33-c80aa9429562:1-9"),
    }
}

/// A store under test, with the writer of an invalidator.
pub(super) struct StoreHarness {
    pub(super) writer: Box<dyn StoreWriter>,
    /// The current term.
    pub(super) term: u64,
    readers: Readers,
}

/// The readers' side of the store.
pub(super) struct Readers {
    pub(super) store: Arc<dyn Store>,
    /// The generation that the store's meta has, if it has one.
    pub(super) generation: Generation,
}

impl Deref for StoreHarness {
    type Target = Readers;

    fn deref(&self) -> &Readers {
        &self.readers
    }
}

impl DerefMut for StoreHarness {
    fn deref_mut(&mut self) -> &mut Readers {
        &mut self.readers
    }
}

impl StoreHarness {
    /// Creates a harness with a store without a meta.
    pub(super) async fn bare(fixture: &dyn StoreFixture) -> Self {
        let store = fixture.store();
        let writer = store.writer().await.expect("a writer");
        Self { writer, term: 0, readers: Readers { store, generation: Generation::default() } }
    }

    /// Creates a harness with a store with a live meta.
    pub(super) async fn live(fixture: &dyn StoreFixture) -> Self {
        let mut harness = Self::bare(fixture).await;
        harness.flush(START).await;
        harness
    }

    /// Flushes to a new generation, at `order`, under the next term.
    pub(super) async fn flush(&mut self, order: u64) {
        let generation = generation();
        self.flush_to(generation, order).await;
    }

    /// Flushes to this generation, at `order`, under the next term.
    pub(super) async fn flush_to(&mut self, generation: Generation, order: u64) {
        (self.generation, self.term) = (generation, self.writer.term().await.expect("a term") + 1);
        self.writer.flush(&meta(generation, self.term, order)).await.expect("a flush");
    }

    /// Replaces a writer that failed.
    pub(super) async fn new_writer(&mut self) {
        self.writer = self.store.writer().await.expect("a writer");
    }

    /// Returns the readers' side, for another task.
    pub(super) fn readers(&self) -> Readers {
        Readers { store: Arc::clone(&self.store), generation: self.generation }
    }

    /// Returns what an invalidator expects that has applied up to `applied_order`.
    pub(super) fn held(&self, applied_order: u64) -> Expected {
        Expected { generation: self.generation, term: self.term, applied_order }
    }

    /// Removes keys.
    pub(super) async fn invalidate(&mut self, ids: &[u64]) {
        let keys: Vec<_> = ids.iter().map(|&id| key(id)).collect();
        self.writer.invalidate(&keys).await.expect("an invalidation");
    }

    /// Invalidates keys for a commit that the load of every entry of the suite has seen.
    pub(super) async fn invalidate_seen(&mut self, ids: &[u64]) {
        self.invalidate_for(ids, 1).await;
    }

    /// Invalidates keys for a commit that the load of no entry of the suite has seen.
    pub(super) async fn invalidate_unseen(&mut self, ids: &[u64]) {
        self.invalidate_for(ids, 10).await;
    }

    async fn invalidate_for(&mut self, ids: &[u64], number: u64) {
        let commit = Gtid { origin: ORIGIN.into(), number };
        let changes: Vec<_> =
            ids.iter().map(|&id| Invalidation { key: key(id), commits: vec![commit.clone()] }).collect();
        self.writer.invalidate_unseen(&changes).await.expect("an invalidation");
    }

    /// Moves `applied` from one order to another.
    pub(super) async fn commit(&mut self, from: u64, to: u64) {
        let applied = Applied { order: to, checkpoint: checkpoint(to), source_time: Timestamp::UNKNOWN };
        let held = self.held(from);
        self.writer.commit(&held, &applied).await.expect("a commit");
    }

    /// Returns the combined meta of all shards, which must be live.
    pub(super) async fn live_state(&mut self) -> Meta {
        match self.writer.state().await.expect("a state") {
            StoreState::Live(meta) => meta,
            other => panic!("the store should be live: {other:?}"),
        }
    }
}

impl Readers {
    /// Requests a lease in CDC mode; `change` can modify the request.
    pub(super) async fn ask(&self, id: u64, token: Token, change: impl FnOnce(&mut LeaseRequest<'_>)) -> LeaseReply {
        let key = key(id);
        let mut request = LeaseRequest {
            key: &key,
            token,
            duration: LONG,
            mode: InvalidationMode::Cdc,
            mapping: MAPPING,
            schema_version: SCHEMA,
            reload: false,
        };
        change(&mut request);
        self.store.lease(&request).await.expect("a reply")
    }

    /// Requests a long lease in CDC mode.
    pub(super) async fn lease(&self, id: u64, token: Token) -> LeaseReply {
        self.ask(id, token, |_| {}).await
    }

    /// Takes a lease, which must be free.
    pub(super) async fn take(&self, id: u64) -> Token {
        let token = token();
        let reply = self.lease(id, token).await;
        assert!(matches!(reply, LeaseReply::Granted { .. }), "granted, not {reply:?}");
        token
    }

    /// Fills a key with this header.
    pub(super) async fn fill_with(&self, id: u64, token: Token, header: &Header, expiry: Duration) -> FillReply {
        let key = key(id);
        let entry = header.encode_with(format!("value of {id}").as_bytes());
        let fill = Fill { key: &key, token, mode: header.mode, generation: header.generation, entry: &entry, expiry };
        self.store.fill(&fill).await.expect("a reply")
    }

    /// Fills a valid entry of CDC mode and this generation.
    pub(super) async fn fill(&self, id: u64, token: Token, order: u64) -> FillReply {
        self.fill_with(id, token, &header(InvalidationMode::Cdc, self.generation, order), LONG).await
    }

    /// Stores a valid entry.
    pub(super) async fn put(&self, id: u64, order: u64) {
        let token = self.take(id).await;
        assert_eq!(self.fill(id, token, order).await, FillReply::Stored);
    }

    /// Reads a key.
    pub(super) async fn read(&self, id: u64) -> Reading {
        self.store.get(&key(id)).await.expect("a reading")
    }

    /// Returns the current entry, if it has a value.
    pub(super) async fn value(&self, id: u64) -> Option<Entry> {
        let entry = Entry::decode(self.read(id).await.entry?).expect("an entry");
        (entry.header.state != PayloadState::None).then_some(entry)
    }
}
