//! Maps a source's batch to the keys that it makes stale, each once.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, Change, RowChange, TableName, Transaction, TransitTimes};
use crate::invalidator::mapped::{Caches, Mapped};
use crate::key::{ByKey, StoreKey};
use crate::keymap::RowValue;
use crate::mapping::MappingId;
use crate::position::{Gtid, Position};
use crate::store::{Invalidation, RowImageValue};

/// A row change that was applied, as reported to an observer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AppliedChange {
    /// The table.
    pub table: TableName,
    /// The operation, in one word.
    pub operation: &'static str,
    /// The keys that were invalidated for it.
    pub keys: Vec<StoreKey>,
    /// The transaction.
    pub gtid: Gtid,
    /// When it was committed; unknown if the log does not say.
    pub committed_at: Timestamp,
    /// When intermediaries between the log and the source handled it.
    pub transit: TransitTimes,
}

/// The effects of a batch.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The keys to invalidate, each once, in order of appearance.
    pub(crate) keys: Vec<StoreKey>,
    /// Which transaction changed which key: indices into `keys` and `commits`.
    changed: Vec<(usize, usize)>,
    /// The transactions, in order.
    commits: Vec<Gtid>,
    /// The values that changed rows now have, by the index of their key: of the last change of the key in the batch.
    pub(crate) images: BTreeMap<usize, Image>,
    /// The caches to flush, by their index among the bound ones, each with the first reason.
    pub(crate) flushed: BTreeMap<usize, Flush>,
    /// The transactions of the batch, including incomplete ones: what the gate waits for.
    pub(crate) transactions: Position,
    /// For the observer; empty if there is none.
    pub(crate) changes: Vec<AppliedChange>,
    /// The commit and transit times of the transactions, or parts of them, that changed a key.
    pub(crate) times: Vec<(Timestamp, TransitTimes)>,
    /// Number of row changes.
    pub(crate) events: u64,
}

/// The value that a changed row now has.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) value: RowValue,
    pub(crate) mapping: MappingId,
}

/// Why a cache is flushed.
#[derive(Debug)]
pub(crate) enum Flush {
    /// A table changed as a whole, perhaps its definition too.
    Table(String),
    /// A change could not be mapped.
    Mapping(Error),
}

impl Plan {
    /// Returns true if the batch invalidates anything in the store.
    pub(crate) fn has_effects(&self) -> bool {
        !self.keys.is_empty() || !self.flushed.is_empty()
    }

    /// Returns the values that may replace those of entries, and the other keys; `None` if there is no value, or more than `max`.
    ///
    /// A value contains everything up to `after`, the end of the batch: it is from the last change of its key, and what was
    /// filtered out concerns no key. It is left out, and its key is removed, if a commit of the key is in `applied` already:
    /// the source repeats it ("Row image in place").
    pub(crate) fn split(
        &self,
        applied: &Position,
        after: &Position,
        max: usize,
    ) -> Option<(Vec<RowImageValue>, Vec<Invalidation>)> {
        if self.images.is_empty() || self.images.len() > max {
            return None;
        }
        let (mut values, mut others) = (Vec::new(), Vec::new());
        for (place, change) in self.invalidations().into_iter().enumerate() {
            let is_new = !change.commits.iter().any(|commit| applied.contains(commit));
            match self.images.get(&place).filter(|_| is_new) {
                Some(Image { value, mapping }) => values.push(RowImageValue {
                    key: change.key,
                    commits: change.commits,
                    contains: after.clone(),
                    mapping: *mapping,
                    codec: value.codec,
                    schema_version: value.schema_version,
                    payload: value.payload.clone(),
                }),
                None => others.push(change),
            }
        }
        Some((values, others))
    }

    /// Returns the keys with the commits that changed them.
    pub(crate) fn invalidations(&self) -> Vec<Invalidation> {
        let keys = self.keys.iter().cloned();
        let mut changes: Vec<_> = keys.map(|key| Invalidation { key, commits: Vec::new() }).collect();
        for &(key, commit) in &self.changed {
            if let (Some(change), Some(commit)) = (changes.get_mut(key), self.commits.get(commit))
                && change.commits.last() != Some(commit)
            {
                change.commits.push(commit.clone());
            }
        }
        changes
    }

    /// Removes the values of caches that are flushed: what a flush stands for may have changed the same rows, in the same
    /// transactions.
    fn drop_images_of_flushed(&mut self, caches: &Caches) {
        let flushed: Vec<MappingId> =
            self.flushed.keys().filter_map(|index| caches.get(*index)).map(|cache| cache.mapping).collect();
        self.images.retain(|_, image| !flushed.contains(&image.mapping));
    }

    /// Adds the keys that the last transaction changed, and the values that some of them have now.
    fn add(
        &mut self,
        keys: impl Iterator<Item = StoreKey>,
        values: Vec<(MappingId, RowValue)>,
        places: &mut ByKey<usize>,
    ) {
        let commit = self.commits.len().saturating_sub(1);
        for key in keys {
            let place = *places.entry(key).or_insert_with_key(|key| {
                self.keys.push(key.clone());
                self.keys.len() - 1
            });
            // Both images of a row usually have the same key.
            if self.changed.last() != Some(&(place, commit)) {
                self.changed.push((place, commit));
            }
            // Only the last change of a key says what its value is.
            self.images.remove(&place);
        }
        for (mapping, value) in values {
            if let Some(place) = places.get(&value.key) {
                self.images.insert(*place, Image { value, mapping });
            }
        }
    }
}

/// Maps a batch to its effects, one change after another: the caller decides what happens in between.
#[derive(Debug, Default)]
pub(crate) struct Planner {
    plan: Plan,
    /// The places of the plan's keys.
    places: ByKey<usize>,
    /// The keys of one row change.
    keys: Vec<StoreKey>,
    /// Number of keys before the current transaction.
    before: usize,
    /// True if an observer is notified of every change.
    observed: bool,
}

impl Planner {
    /// Begins the plan of a batch. The changes are listed only if there is an observer.
    pub(crate) fn new(batch: &Batch, observed: bool) -> Self {
        let changes = batch.transactions.iter().map(|transaction| transaction.changes.len()).sum();
        Self { places: ByKey::with_capacity_and_hasher(changes, Default::default()), observed, ..Self::default() }
    }

    /// Begins a transaction of the batch.
    pub(crate) fn begin(&mut self, transaction: &Transaction) {
        self.plan.transactions.insert(&transaction.gtid);
        self.plan.commits.push(transaction.gtid.clone());
        self.before = self.plan.keys.len();
    }

    /// Adds a change of the transaction that was begun last.
    ///
    /// This runs the mappings of all caches, which are the user's code. The time it takes is that of one row; what a batch takes has no
    /// bound.
    pub(crate) fn add(&mut self, transaction: &Transaction, change: &Change, caches: &Caches) {
        let plan = &mut self.plan;
        match change {
            Change::Row(row) => {
                plan.events += 1;
                keys_of(row, caches, &mut self.keys, &mut plan.flushed);
                if self.observed {
                    plan.changes.push(AppliedChange {
                        table: row.table.clone(),
                        operation: row.operation.as_str(),
                        keys: each_once(&self.keys),
                        gtid: transaction.gtid.clone(),
                        committed_at: transaction.committed_at,
                        transit: transaction.transit,
                    });
                }
                // A part of a transaction may be followed by another change of the row.
                let values = if transaction.complete { values_of(row, caches) } else { Vec::new() };
                plan.add(self.keys.drain(..), values, &mut self.places);
            }
            Change::Tables { tables, reason } => {
                for (index, cache) in caches.iter().enumerate() {
                    if tables.is_empty() || tables.iter().any(|table| cache.map.depends_on(table)) {
                        let flush = plan.flushed.entry(index);
                        // It takes precedence over a change that could not be mapped: the definition must be checked.
                        flush
                            .and_modify(|flush| *flush = Flush::Table(reason.clone()))
                            .or_insert_with(|| Flush::Table(reason.clone()));
                    }
                }
            }
        }
    }

    /// Ends the transaction that was begun last.
    pub(crate) fn end(&mut self, transaction: &Transaction) {
        if self.plan.keys.len() > self.before {
            self.plan.times.push((transaction.committed_at, transaction.transit));
        }
    }

    /// Returns the plan, after the last transaction was ended.
    pub(crate) fn finish(self, caches: &Caches) -> Plan {
        let mut plan = self.plan;
        plan.drop_images_of_flushed(caches);
        plan
    }
}

/// Maps a batch to its effects at once.
#[cfg(test)]
pub(crate) fn plan(batch: &Batch, caches: &Caches, observed: bool) -> Plan {
    let mut planner = Planner::new(batch, observed);
    for transaction in &batch.transactions {
        planner.begin(transaction);
        transaction.changes.iter().for_each(|change| planner.add(transaction, change, caches));
        planner.end(transaction);
    }
    planner.finish(caches)
}

/// Calls a cache's map. A panic is an error of this cache: it would end the invalidator of all, here and in each process that takes
/// over, because each reads the same row.
fn caught<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    let panicked = || Error::new(ErrorKind::Corrupt, "the mapping panicked: return an error from `depends_on` instead");
    crate::caught::caught(call, panicked)
}

/// Makes `keys` the keys of a row change; a key may occur more than once. Only a cache whose mapping fails is flushed.
fn keys_of(row: &RowChange, caches: &Caches, keys: &mut Vec<StoreKey>, flushed: &mut BTreeMap<usize, Flush>) {
    keys.clear();
    for (index, cache) in caches.iter().enumerate().filter(|(_, cache)| cache.is_fit()) {
        let before = keys.len();
        if let Err(error) = caught(|| cache.map.keys(row, keys)) {
            keys.truncate(before);
            flushed.entry(index).or_insert(Flush::Mapping(error));
        }
    }
}

/// Returns the keys, each once, in order of appearance: for an observer. The plan itself has a place for each key, which is looked up.
fn each_once(keys: &[StoreKey]) -> Vec<StoreKey> {
    let mut seen = ByKey::with_capacity_and_hasher(keys.len(), Default::default());
    keys.iter().filter(|key| seen.insert((*key).clone(), ()).is_none()).cloned().collect()
}

/// Returns the values that keys have after a row change, for caches whose values are a function of the row.
fn values_of(row: &RowChange, caches: &Caches) -> Vec<(MappingId, RowValue)> {
    let value_of = |cache: &Mapped| match caught(|| cache.map.row_value(row)) {
        Ok(value) => value.map(|value| (cache.mapping, value)),
        Err(error) => {
            tracing::debug!(cache = cache.cache(), error = %error.chain(), "a row has no value: the entry is removed");
            None
        }
    };
    caches.iter().filter(|cache| cache.is_fit()).filter_map(value_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;
    use crate::event::{Operation, RowImage, Value};

    #[tokio::test]
    async fn a_row_of_many_keys_is_mapped_in_linear_time() {
        const KEYS: u64 = 50_000;
        let cache: Cache<u64, u64> = Cache::builder("row")
            .depends_on("shop.row", |_| Ok((0..KEYS).chain(0..KEYS).collect()))
            .build()
            .expect("a cache");
        let caches = Caches::new(vec![cache.key_map()], true).expect("caches");
        let (table, after) = (TableName::from("shop.row"), Some(RowImage::from_pairs([("id", Value::UInt(1))])));
        let row = RowChange { table, operation: Operation::Insert, before: None, after };
        let transaction = Transaction {
            gtid: Gtid { origin: "a".into(), number: 1 },
            committed_at: Timestamp::UNKNOWN,
            transit: TransitTimes::default(),
            changes: vec![Change::Row(row)],
            complete: true,
        };
        let began = std::time::Instant::now();
        let plan = plan(&Batch { transactions: vec![transaction], ..Batch::default() }, &caches, true);
        // Comparisons of each with each take minutes.
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
        assert_eq!((plan.keys.len(), plan.changes[0].keys.len()), (KEYS as usize, KEYS as usize));
        assert!(plan.changes[0].keys == plan.keys && plan.keys[0].as_str() == "row:0");
    }
}
