//! Rules by table: a closure from a row image to keys, which runs on the image before a change and on the one after it.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::event::{Operation, RowChange, RowImage, TableName};
use crate::filter::{Columns, TableFilter};
use crate::key::{CacheKey, StoreKey};
use crate::keymap::contract::{KeyMap, RowValue};
use crate::loader::TAG_BYTES_MAX;

/// A rule in two forms: with its keys as stored, and with keys of their own type.
#[derive(Clone)]
struct Rule {
    stored: Arc<KeysOf<StoreKey>>,
    typed: Arc<KeysOf<Box<dyn Any>>>,
}

impl Rule {
    /// A rule that makes no keys of the cache's own type.
    fn of_stored(stored: impl Fn(&RowImage, &mut Vec<StoreKey>) -> Result<()> + Send + Sync + 'static) -> Self {
        Self { stored: Arc::new(stored), typed: Arc::new(|_, _| Ok(())) }
    }
}

type KeysOf<K> = dyn Fn(&RowImage, &mut Vec<K>) -> Result<()> + Send + Sync;

/// Encodes the value that is made from a row.
type ValueOf = Arc<dyn Fn(&RowImage) -> Result<Vec<u8>> + Send + Sync>;

/// How values are made from the rows of the only table of a cache.
#[derive(Clone)]
struct RowValues {
    table: TableName,
    codec: u8,
    schema_version: u32,
    value_of: ValueOf,
}

/// The rules of one cache, as [`CacheBuilder::depends_on`](crate::CacheBuilder::depends_on) collects them. Use it directly to
/// run an invalidator without the cache, see [`Cdc::bind_map`](crate::Cdc::bind_map).
///
/// ```
/// use cachefront::keymap::{KeyMap, TableRules};
/// use cachefront::source::Columns;
///
/// let mut rules = TableRules::new("users");
/// rules.add("shop.users".into(), Columns::Only(vec!["id".into()]), |row| Ok(vec![row.get::<u64>("id")?]));
/// assert!(rules.depends_on(&"shop.users".into()));
/// ```
#[derive(Clone)]
pub struct TableRules {
    cache: Arc<str>,
    version: u32,
    loads_from: Vec<Box<str>>,
    fenced: bool,
    tagged: bool,
    row_value: Option<RowValues>,
    rules: BTreeMap<TableName, Vec<(Columns, Rule)>>,
}

impl TableRules {
    /// Creates a map without rules for the cache of this name.
    pub fn new(cache: &str) -> Self {
        Self {
            cache: cache.into(),
            version: 0,
            loads_from: Vec::new(),
            fenced: false,
            tagged: false,
            row_value: None,
            rules: BTreeMap::new(),
        }
    }

    /// Sets the version of the code that makes keys of rows; see [`KeyMap::version`]. Default: 0.
    pub fn set_version(&mut self, version: u32) {
        self.version = version;
    }

    /// Adds a server that the cache loads from; see [`KeyMap::loads_from`]. Default: none.
    pub fn add_server(&mut self, server: &str) {
        self.loads_from.push(server.into());
    }

    /// Makes the cache a fenced one; see [`KeyMap::is_fenced`]. Default: it is not.
    pub fn set_fenced(&mut self) {
        self.fenced = true;
    }

    /// Lets values of the cache have tags; see [`CacheBuilder::tagged`](crate::CacheBuilder::tagged). Default: they have none.
    pub fn set_tagged(&mut self) {
        self.tagged = true;
    }

    /// Adds a rule for tags: `tags_of` returns those that have values made from a row of `table`.
    pub fn add_tags<F>(&mut self, table: TableName, columns: Columns, tags_of: F)
    where
        F: Fn(&RowImage) -> Result<Vec<String>> + Send + Sync + 'static,
    {
        let cache = Arc::clone(&self.cache);
        let rule = Rule::of_stored(move |image, keys| {
            // No value has a tag that is too long.
            for tag in tags_of(image)?.iter().filter(|tag| tag.len() <= TAG_BYTES_MAX) {
                keys.push(StoreKey::of_tag(&cache, tag)?);
            }
            Ok(())
        });
        self.tagged = true;
        self.rules.entry(table).or_default().push((columns, rule));
    }

    /// Makes values from rows of `table`, so that they are replaced in place; see
    /// [`CacheBuilder::refresh_in_place`](crate::CacheBuilder::refresh_in_place). `value_of` returns the encoded value, by the codec
    /// and for the schema version that are given. All columns of the table are read.
    pub fn set_row_value<F>(&mut self, table: TableName, codec: u8, schema_version: u32, value_of: F)
    where
        F: Fn(&RowImage) -> Result<Vec<u8>> + Send + Sync + 'static,
    {
        let reads_all = Rule::of_stored(|_, _| Ok(()));
        self.rules.entry(table.clone()).or_default().push((Columns::All, reads_all));
        self.row_value = Some(RowValues { table, codec, schema_version, value_of: Arc::new(value_of) });
    }

    /// Adds a rule: `keys_of` returns the keys whose values are made from a row of `table`. It is called with the image before a
    /// change and with the one after it, and a key that both have is made once.
    pub fn add<K, F>(&mut self, table: TableName, columns: Columns, keys_of: F)
    where
        K: CacheKey + 'static,
        F: Fn(&RowImage) -> Result<Vec<K>> + Send + Sync + 'static,
    {
        let cache = Arc::clone(&self.cache);
        let keys_of = Arc::new(keys_of);
        let typed_of = Arc::clone(&keys_of);
        let rule = Rule {
            stored: Arc::new(move |image, keys| {
                // Both images of a row usually have the same key.
                keys_of(image)?.iter().try_for_each(|key| StoreKey::append_short(keys, &cache, key))
            }),
            typed: Arc::new(move |image, keys| {
                keys.extend(typed_of(image)?.into_iter().map(|key| Box::new(key) as Box<dyn Any>));
                Ok(())
            }),
        };
        self.rules.entry(table).or_default().push((columns, rule));
    }

    /// Returns the keys that `change` makes stale, in their own type `K`. Keys of another type are left out.
    ///
    /// # Errors
    /// As [`KeyMap::keys`].
    pub(crate) fn typed_keys<K: 'static>(&self, change: &RowChange) -> Result<Vec<K>> {
        let mut keys = Vec::new();
        self.apply_all(change, &mut keys, |rule| &*rule.typed)?;
        Ok(keys.into_iter().filter_map(|key| key.downcast().ok()).map(|key| *key).collect())
    }

    /// Runs the rules of the change's table on both images.
    fn apply_all<K>(&self, change: &RowChange, keys: &mut Vec<K>, form: impl Fn(&Rule) -> &KeysOf<K>) -> Result<()> {
        for (_, rule) in self.rules.get(&change.table).into_iter().flatten() {
            for image in change.images() {
                apply(form(rule), image, keys).map_err(|error| {
                    let message = format!(
                        "the mapping of cache `{}` cannot make keys of a row of table `{}`",
                        self.cache, change.table
                    );
                    Error::with_source(error.kind(), message, error)
                })?;
            }
        }
        Ok(())
    }

    /// Returns true if there is no rule: no change affects this cache.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl KeyMap for TableRules {
    fn cache(&self) -> &str {
        &self.cache
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn loads_from(&self) -> &[Box<str>] {
        &self.loads_from
    }

    fn is_fenced(&self) -> bool {
        self.fenced
    }

    fn is_tagged(&self) -> bool {
        self.tagged
    }

    fn table_filter(&self) -> TableFilter {
        let mut filter = TableFilter::new();
        for (table, rules) in &self.rules {
            for (columns, _) in rules {
                filter.add(table.clone(), columns);
            }
        }
        if let Some(values) = &self.row_value {
            filter.add_row_values(values.table.clone());
        }
        filter
    }

    fn keys(&self, change: &RowChange, keys: &mut Vec<StoreKey>) -> Result<()> {
        self.apply_all(change, keys, |rule| &*rule.stored)
    }

    fn row_value(&self, change: &RowChange) -> Result<Option<RowValue>> {
        let (Some(values), Some(after)) = (&self.row_value, &change.after) else { return Ok(None) };
        if change.table != values.table || change.operation == Operation::Read {
            return Ok(None);
        }
        let mut keys = Vec::new();
        for (_, rule) in self.rules.get(&change.table).into_iter().flatten() {
            (rule.stored)(after, &mut keys)?;
        }
        let Ok([key]) = <[StoreKey; 1]>::try_from(keys) else { return Ok(None) };
        let payload = (values.value_of)(after)?.into();
        Ok(Some(RowValue { key, codec: values.codec, schema_version: values.schema_version, payload }))
    }

    fn depends_on(&self, table: &TableName) -> bool {
        self.rules.contains_key(table)
    }
}

/// Runs a rule on one image. If a column is NULL where the rule expects a value, readers have no key of that column. The rule
/// then runs again with an empty value instead, so that keys made of other columns are not missed; a key made of the empty
/// value is one invalidation too many, which costs a load at most.
fn apply<K>(rule: &KeysOf<K>, image: &RowImage, keys: &mut Vec<K>) -> Result<()> {
    let before = keys.len();
    let Err(error) = rule(image, keys) else { return Ok(()) };
    keys.truncate(before);
    match image.without_nulls() {
        Some(image) => rule(&image, keys).map_err(|_| error),
        None => Err(error),
    }
}

impl fmt::Debug for TableRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableRules")
            .field("cache", &self.cache)
            .field("tables", &self.rules.keys().map(TableName::as_str).collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Operation, Value};

    fn keys_of(rules: &TableRules, image: RowImage) -> Result<Vec<String>> {
        let change =
            RowChange { table: "shop.users".into(), operation: Operation::Insert, before: None, after: Some(image) };
        let mut keys = Vec::new();
        rules.keys(&change, &mut keys)?;
        Ok(keys.iter().map(|key| key.as_str().to_owned()).collect())
    }

    #[test]
    fn a_null_column_does_not_hide_keys_made_of_other_columns() {
        let mut rules = TableRules::new("user");
        rules.add(TableName::from("shop.users"), Columns::All, |row| {
            Ok(vec![row.get::<String>("mail")?, row.get::<u64>("id")?.to_string()])
        });
        let image = RowImage::from_pairs([("mail", Value::Null), ("id", Value::UInt(7))]);
        assert_eq!(keys_of(&rules, image).expect("keys"), ["user:", "user:7"]);
    }

    #[test]
    fn an_optional_column_that_is_null_makes_no_key() {
        let mut rules = TableRules::new("user");
        rules.add(TableName::from("shop.users"), Columns::All, |row| {
            Ok(row.get::<Option<String>>("mail")?.into_iter().collect::<Vec<_>>())
        });
        assert!(keys_of(&rules, RowImage::from_pairs([("mail", Value::Null)])).expect("no keys").is_empty());
    }

    #[test]
    fn a_key_that_is_too_long_to_be_stored_is_omitted() {
        let mut rules = TableRules::new("user");
        rules.add(TableName::from("shop.users"), Columns::All, |row| {
            Ok(vec![row.get::<String>("mail")?, "short".to_owned()])
        });
        let image = RowImage::from_pairs([("mail", Value::Text("x".repeat(2_000).into()))]);
        assert_eq!(keys_of(&rules, image).expect("keys"), ["user:short"]);
    }

    #[test]
    fn an_error_names_cache_table_and_column() {
        let mut rules = TableRules::new("user");
        rules.add(TableName::from("shop.users"), Columns::All, |row| Ok(vec![row.get::<u64>("id")?]));
        let error = keys_of(&rules, RowImage::from_pairs([("id", Value::Text("x".into()))])).expect_err("not a number");
        let text = error.chain();
        assert!(["`user`", "`shop.users`", "`id`"].iter().all(|name| text.contains(name)), "{text}");
    }

    #[test]
    fn an_update_that_moves_a_row_returns_the_old_key_and_the_new_one() {
        let mut rules = TableRules::new("mail");
        rules.add(TableName::from("shop.users"), Columns::All, |row| Ok(vec![row.get::<String>("email")?]));
        let image = |email: &str| RowImage::from_pairs([("email", Value::Text(email.into()))]);
        let change = RowChange {
            table: "shop.users".into(),
            operation: Operation::Update,
            before: Some(image("a@x")),
            after: Some(image("b@x")),
        };
        let mut keys = Vec::new();
        rules.keys(&change, &mut keys).expect("keys");
        assert_eq!(keys.iter().map(StoreKey::as_str).collect::<Vec<_>>(), ["mail:a@x", "mail:b@x"]);
        let other = RowChange { table: "shop.orders".into(), ..change };
        keys.clear();
        rules.keys(&other, &mut keys).expect("no keys");
        assert!(keys.is_empty());
    }
}
