//! The contract of a key map.

use std::fmt;

use crate::error::Result;
use crate::event::{RowChange, TableName};
use crate::filter::TableFilter;
use crate::key::StoreKey;
use crate::mapping::MappingId;

/// From a row's change to the keys that it makes stale.
///
/// # Contract
/// For every change after which a key's value may differ, the key is among the answers. Both images count: an update
/// that moves a row from one key to another makes both stale. An answer too many costs a load; one too few is a stale
/// entry.
pub trait KeyMap: fmt::Debug + Send + Sync + 'static {
    /// The name of the cache whose keys it names.
    fn cache(&self) -> &str;

    /// The version of the code that makes keys of a row. To be raised when the same columns lead to other keys: what
    /// processes with another version have cached is then not served.
    ///
    /// Default: 0.
    fn version(&self) -> u32 {
        0
    }

    /// The servers that the cache loads from beside the one whose log is followed, by names of the user's choice. The gate
    /// of every invalidator that keeps the cache must wait on them.
    ///
    /// Default: none.
    fn loads_from(&self) -> &[Box<str>] {
        &[]
    }

    /// The cache under this mapping, as it stands in the store's meta.
    fn mapping(&self) -> MappingId {
        MappingId::new(self.cache(), &self.table_filter(), self.loads_from(), self.version())
    }

    /// The tables it depends on.
    fn table_filter(&self) -> TableFilter;

    /// Appends the keys that `change` makes stale. A key that is too long to be stored is left out: no entry has it.
    ///
    /// # Errors
    /// If the change cannot be understood. The invalidator then flushes the cache rather than miss a key.
    fn keys(&self, change: &RowChange, keys: &mut Vec<StoreKey>) -> Result<()>;

    /// True if a change of the whole table (TRUNCATE, DDL) concerns this map.
    fn depends_on(&self, table: &TableName) -> bool {
        self.table_filter().get(table.as_str()).is_some()
    }
}
