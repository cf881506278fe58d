//! Values that are a function of one row: what the invalidator replaces in place ("Row image in place").

use std::sync::Arc;

use crate::codec::Codec;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{RowImage, TableName};
use crate::keymap::{KeyMap, TableRules};

/// Makes a value from a row.
pub(super) type ValueOf<V> = Arc<dyn Fn(&RowImage) -> Result<V> + Send + Sync>;

/// Adds the rule by which rows are encoded.
pub(super) fn add_rule<V: 'static>(
    rules: &mut TableRules,
    table: TableName,
    value_of: ValueOf<V>,
    codec: &Arc<impl Codec<V>>,
    schema_version: u32,
) {
    let (id, codec) = (codec.id(), Arc::clone(codec));
    rules.set_row_value(table, id, schema_version, move |row| {
        let mut payload = Vec::new();
        let encoded = codec.encode(&value_of(row)?, &mut payload);
        encoded
            .map_err(|error| Error::with_source(ErrorKind::Corrupt, "the value of a row cannot be encoded", error))?;
        Ok(payload)
    });
}

/// Checks that the cache depends on this table only.
pub(super) fn validate(cache: &str, rules: &TableRules, table: &TableName) -> Result<()> {
    let filter = rules.table_filter();
    let only = filter.iter().count() == 1 && filter.get(table).is_some();
    if only && !rules.is_tagged() {
        return Ok(());
    }
    let message = format!(
        "`refresh_in_place` of cache `{cache}` needs values that are made from one row of `{table}`: name this table in \
         `depends_on`, and no other table and no tags"
    );
    Err(Error::new(ErrorKind::Config, message))
}
