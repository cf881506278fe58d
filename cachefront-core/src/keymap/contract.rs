//! The contract of a key map.

use std::fmt;

use bytes::Bytes;

use crate::error::Result;
use crate::event::{RowChange, TableName};
use crate::filter::TableFilter;
use crate::key::StoreKey;
use crate::mapping::MappingId;

/// The value of a key after a change of its row; see [`KeyMap::row_value`].
#[derive(Clone, Debug)]
pub struct RowValue {
    /// The key. It must be one of those that [`KeyMap::keys`] returns for the same change.
    pub key: StoreKey,
    /// The codec that encoded the value.
    pub codec: u8,
    /// The version of the value's schema.
    pub schema_version: u32,
    /// The encoded value.
    pub payload: Bytes,
}

/// Maps the change of a row to the keys that it makes stale.
///
/// # Contract
/// For every change after which the value of a key may differ, the key must be in the result. Both images count: an update
/// that moves a row from one key to another makes both stale. A key too many costs a load; a missing key leaves a stale
/// entry.
///
/// [`CacheBuilder::depends_on`](crate::CacheBuilder::depends_on) covers most cases. An own implementation serves a process
/// that runs an invalidator without the caches, see [`Cdc::bind_map`](crate::Cdc::bind_map):
///
/// ```
/// use cachefront::event::{Operation, RowChange, RowImage, TableName, Value};
/// use cachefront::keymap::KeyMap;
/// use cachefront::source::{Columns, TableFilter};
/// use cachefront::{Result, StoreKey};
///
/// /// The pages of a shop: a product is on its own page and on its category's.
/// #[derive(Debug)]
/// struct Pages;
///
/// impl KeyMap for Pages {
///     fn cache(&self) -> &str {
///         "pages"
///     }
///
///     fn table_filter(&self) -> TableFilter {
///         let mut filter = TableFilter::new();
///         filter.add("shop.products".into(), &Columns::Only(vec!["id".into(), "category".into()]));
///         filter
///     }
///
///     fn keys(&self, change: &RowChange, keys: &mut Vec<StoreKey>) -> Result<()> {
///         for row in change.images() {
///             let (id, category) = (row.get::<u64>("id")?, row.get::<u64>("category")?);
///             keys.push(StoreKey::encode("pages", &format!("product/{id}"))?);
///             keys.push(StoreKey::encode("pages", &format!("category/{category}"))?);
///         }
///         Ok(())
///     }
/// }
///
/// let row = |category| RowImage::from_pairs([("id", Value::UInt(7)), ("category", Value::UInt(category))]);
/// let (before, after) = (Some(row(1)), Some(row(2)));
/// let change = RowChange { table: TableName::new("shop", "products"), operation: Operation::Update, before, after };
/// let mut keys = Vec::new();
/// Pages.keys(&change, &mut keys)?;
/// let keys: Vec<&str> = keys.iter().map(StoreKey::as_str).collect();
/// assert_eq!(keys, ["pages:product/7", "pages:category/1", "pages:product/7", "pages:category/2"]);
/// # Ok::<(), cachefront::Error>(())
/// ```
pub trait KeyMap: fmt::Debug + Send + Sync + 'static {
    /// Returns the name of the cache whose keys it maps to.
    fn cache(&self) -> &str;

    /// Returns the version of the code that makes keys of a row. Raise it when the same columns lead to other keys: values
    /// that processes with another version have cached are then not served.
    ///
    /// Default: 0.
    fn version(&self) -> u32 {
        0
    }

    /// Returns the servers that the cache loads from in addition to the one whose log is followed, by names of the user's
    /// choice. The gate of every invalidator that covers the cache must wait on them.
    ///
    /// Default: none.
    fn loads_from(&self) -> &[Box<str>] {
        &[]
    }

    /// Returns true if values of the cache may have tags.
    ///
    /// Default: false.
    fn is_tagged(&self) -> bool {
        false
    }

    /// Returns true if the cache keeps a loaded value only if the server that was read had executed everything that was
    /// invalidated before the load; see [`CacheBuilder::fenced`](crate::CacheBuilder::fenced). The gate then need not wait on
    /// the servers of [`loads_from`](KeyMap::loads_from).
    ///
    /// Default: `false`.
    fn is_fenced(&self) -> bool {
        false
    }

    /// Returns the id of this mapping, as in the store's meta.
    ///
    /// Default: computed from the other methods.
    fn mapping(&self) -> MappingId {
        let mut servers = self.loads_from().to_vec();
        if self.is_fenced() {
            // No server has such a name. An invalidator without fences does not cover the cache.
            servers.push("\0fence".into());
        }
        let mapping = MappingId::new(self.cache(), &self.table_filter(), &servers, self.version());
        if self.is_tagged() { mapping.tagged() } else { mapping }
    }

    /// Returns the tables and columns that it depends on.
    fn table_filter(&self) -> TableFilter;

    /// Appends the keys that `change` makes stale. A key that is too long to be stored can be omitted: no entry has it.
    ///
    /// # Errors
    /// If the change cannot be mapped. The invalidator then flushes the cache rather than miss a key.
    fn keys(&self, change: &RowChange, keys: &mut Vec<StoreKey>) -> Result<()>;

    /// Returns the value that one key has after `change`, if the key's value is a function of this row alone: the invalidator then
    /// replaces the value in place, instead of removing the entry. An error, or `None`, removes it.
    ///
    /// Default: `None`.
    ///
    /// # Errors
    /// If the row has no such value.
    fn row_value(&self, _change: &RowChange) -> Result<Option<RowValue>> {
        Ok(None)
    }

    /// Returns true if a change of the whole table (TRUNCATE, DDL) concerns this map.
    ///
    /// Default: true if [`table_filter`](KeyMap::table_filter) includes the table.
    fn depends_on(&self, table: &TableName) -> bool {
        self.table_filter().get(table).is_some()
    }
}
