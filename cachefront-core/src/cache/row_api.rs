//! Row images in the public interface: how a cache says that its values are functions of one row.

use std::sync::Arc;

use crate::cache::builder::CacheBuilder;
use crate::error::Result;
use crate::event::{RowImage, TableName};

impl<K, V, C> CacheBuilder<K, V, C> {
    /// Lets the invalidator replace a cached value by the one that `value_of` makes from the changed row, so that a key that is
    /// written often stays a hit. It is opt-in, because it must be true that **the value is a function of this one row**: the
    /// loader's result for a key is `value_of` of the key's row, and depends on nothing else.
    ///
    /// The table is the only one that the cache depends on, and its `depends_on` makes exactly one key from a row. A value is
    /// replaced only if the entry is known to be older than the row: its loader reports its
    /// [`position`](crate::LoadCx::position), by which the invalidator orders the two. Every other change removes the
    /// entry, as always: a delete, a row whose key changes, a large batch, an error of `value_of`. Values that are not cached
    /// are not cached by a change either.
    ///
    /// All columns of the table are read from the log: a unique text column must compare by its bytes, as if a key were made of
    /// it. The time to live of an entry is not prolonged.
    ///
    /// Default: a change removes the entry.
    ///
    /// ```
    /// use cachefront::{Cache, CacheBuilder};
    ///
    /// let names: CacheBuilder<u64, String> = Cache::builder("names")
    ///     .depends_on_columns("shop.users", &["id"], |row| Ok(vec![row.get::<u64>("id")?]))
    ///     // Its loader: SELECT name FROM users WHERE id = ?
    ///     .refresh_in_place("shop.users", |row| row.get("name"));
    /// ```
    pub fn refresh_in_place<F>(mut self, table: impl Into<TableName>, value_of: F) -> Self
    where
        F: Fn(&RowImage) -> Result<V> + Send + Sync + 'static,
    {
        self.row_value = Some((table.into(), Arc::new(value_of)));
        self
    }
}
