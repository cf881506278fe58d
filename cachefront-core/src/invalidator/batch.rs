//! From a source's batch to the keys that it makes stale, each once.

use std::collections::HashSet;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::event::{Batch, Carried, Change, RowChange, TableName};
use crate::key::StoreKey;
use crate::keymap::KeyMap;
use crate::position::{Gtid, Position};

/// A row change that was applied, as an observer sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AppliedChange {
    /// The table.
    pub table: TableName,
    /// What happened to the row, in one word.
    pub operation: &'static str,
    /// The keys that were invalidated for it.
    pub keys: Vec<StoreKey>,
    /// The transaction.
    pub gtid: Gtid,
    /// When it was committed; unknown if the log does not say.
    pub committed_at: Timestamp,
    /// When it passed those who carry it from the log to the source.
    pub carried: Carried,
}

/// What is to be done for a batch.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The keys to invalidate, each once, in the order they came.
    pub(crate) keys: Vec<StoreKey>,
    /// The transactions of the batch, unfinished ones too: what the gate waits for.
    pub(crate) transactions: Position,
    /// Everything must be voided, for this reason.
    pub(crate) void: Option<Void>,
    /// For the observer; left empty where there is none.
    pub(crate) changes: Vec<AppliedChange>,
    /// The commit times of transactions, or parts of them, with a key; and when they were carried.
    pub(crate) times: Vec<(Timestamp, Carried)>,
    /// Row changes delivered.
    pub(crate) events: u64,
}

/// Why keys cannot be named one by one.
#[derive(Debug)]
pub(crate) enum Void {
    /// A table as a whole changed.
    Tables(String),
    /// A change could not be understood.
    Mapping(Error),
}

/// Makes a plan of a batch.
pub(crate) fn plan(batch: &Batch, maps: &[Arc<dyn KeyMap>], observed: bool) -> Plan {
    let mut plan = Plan::default();
    let mut seen = HashSet::new();
    for transaction in &batch.transactions {
        plan.transactions.insert(&transaction.gtid);
        let before = plan.keys.len();
        for change in &transaction.changes {
            match change {
                Change::Row(row) => {
                    plan.events += 1;
                    match keys_of(row, maps) {
                        Ok(keys) => {
                            if observed {
                                plan.changes.push(AppliedChange {
                                    table: row.table.clone(),
                                    operation: row.operation.as_str(),
                                    keys: keys.clone(),
                                    gtid: transaction.gtid.clone(),
                                    committed_at: transaction.committed_at,
                                    carried: transaction.carried,
                                });
                            }
                            plan.keys.extend(keys.into_iter().filter(|key| seen.insert(key.clone())));
                        }
                        Err(error) => plan.void = Some(Void::Mapping(error)),
                    }
                }
                Change::Tables { tables, reason } => {
                    let concerned =
                        tables.is_empty() || tables.iter().any(|table| maps.iter().any(|map| map.depends_on(table)));
                    if concerned && plan.void.is_none() {
                        plan.void = Some(Void::Tables(reason.clone()));
                    }
                }
            }
        }
        if plan.keys.len() > before {
            plan.times.push((transaction.committed_at, transaction.carried));
        }
    }
    plan
}

fn keys_of(row: &RowChange, maps: &[Arc<dyn KeyMap>]) -> Result<Vec<StoreKey>> {
    let mut keys = Vec::new();
    for map in maps {
        map.keys(row, &mut keys)?;
    }
    // Both images of a row mostly name the same key.
    let mut unique = Vec::with_capacity(keys.len());
    for key in keys {
        if !unique.contains(&key) {
            unique.push(key);
        }
    }
    Ok(unique)
}
