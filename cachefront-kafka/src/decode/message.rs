//! A record's value as `serde_json` reads it: the fields of all forms in one structure. Rows stay unparsed text.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::problem::{Part, Problem};
use crate::event::{BlockOrder, ConnectorVersion};

/// An object of any form. `null` and absence are distinguished where the meaning depends on it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Message<'a> {
    // The JSON converter with `schemas.enable=true`.
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) schema: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) payload: Option<&'a RawValue>,
    // An envelope.
    #[serde(borrow, default)]
    pub(super) before: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) after: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) source: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) transaction: Option<TransactionBlock>,
    #[serde(borrow, default)]
    pub(super) op: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) ts_ms: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) ts_us: Option<&'a RawValue>,
    // A schema change.
    #[serde(borrow, default, rename = "databaseName")]
    pub(super) database: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) ddl: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "tableChanges")]
    pub(super) table_changes: Option<&'a RawValue>,
    // The begin or the end of a transaction.
    #[serde(borrow, default)]
    pub(super) status: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) event_count: Option<u64>,
    #[serde(borrow, default)]
    pub(super) data_collections: Option<Vec<Collection<'a>>>,
    // A CloudEvent.
    #[serde(borrow, default)]
    pub(super) specversion: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) data: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "iodebeziumop")]
    pub(super) ce_op: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "iodebeziumdb")]
    pub(super) ce_database: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "iodebeziumtable")]
    pub(super) ce_table: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "iodebeziumgtid")]
    pub(super) ce_gtid: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "iodebeziumtsms")]
    pub(super) ce_committed_ms: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "iodebeziumsnapshot")]
    pub(super) ce_snapshot: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "iodebeziumversion")]
    pub(super) ce_version: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "iodebeziumfile")]
    pub(super) ce_file: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "iodebeziumpos")]
    pub(super) ce_pos: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "iodebeziumtxtotalorder")]
    pub(super) ce_order: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "iodebeziumtxdatacollectionorder")]
    pub(super) ce_order_in_table: Option<&'a RawValue>,
}

impl Message<'_> {
    /// The order of a CloudEvent in its transaction, whose attributes are text.
    pub(super) fn order_of_cloud_event(&self) -> Option<BlockOrder> {
        let number = |raw: Option<&RawValue>| raw?.get().trim_matches('"').parse().ok();
        Some(BlockOrder { in_transaction: number(self.ce_order)?, in_table: number(self.ce_order_in_table)? })
    }
}

/// The `transaction` block of a change, written with [`provide.transaction.metadata`].
///
/// [`provide.transaction.metadata`]: https://debezium.io/documentation/reference/stable/connectors/mysql.html#mysql-transaction-metadata
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct TransactionBlock {
    total_order: u64,
    data_collection_order: u64,
}

impl TransactionBlock {
    pub(super) fn order(self) -> BlockOrder {
        BlockOrder { in_transaction: self.total_order, in_table: self.data_collection_order }
    }
}

/// The number of events that a transaction has for one table.
#[derive(Debug, Deserialize)]
pub(super) struct Collection<'a> {
    #[serde(borrow, rename = "data_collection")]
    pub(super) table: Cow<'a, str>,
    #[serde(rename = "event_count")]
    pub(super) events: u64,
}

/// The `source` block of a change.
#[derive(Debug, Deserialize)]
pub(super) struct Source<'a> {
    #[serde(borrow)]
    pub(super) db: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) table: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) gtid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) snapshot: Option<Cow<'a, str>>,
    pub(super) ts_ms: u64,
    #[serde(borrow, default)]
    pub(super) ts_us: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) version: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) file: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) pos: Option<&'a RawValue>,
}

/// Returns the version in the text `"3.6.1.Final"`.
pub(super) fn version(raw: &RawValue) -> Option<ConnectorVersion> {
    ConnectorVersion::parse(raw.get().trim_matches('"'))
}

/// Returns where a snapshot was taken, `binlog.000007:4711`.
pub(super) fn snapshot_at(file: Option<&RawValue>, pos: Option<&RawValue>) -> Option<Arc<str>> {
    let text = |raw: &RawValue| raw.get().trim_matches('"').to_owned();
    Some(format!("{}:{}", text(file?), text(pos?)).into())
}

/// One table of a schema change.
#[derive(Debug, Deserialize)]
pub(super) struct TableChange<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
}

/// Parses a part of a message.
pub(super) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|error| Problem::json(Part::Value, &error))
}

/// Tells `null` from absence.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}
