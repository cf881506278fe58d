//! Rules by table: a closure from a row image to keys, run on the image before and the one after.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::event::{RowChange, RowImage, TableName};
use crate::key::{CacheKey, StoreKey};
use crate::keymap::KeyMap;
use crate::source::{Columns, Interests};

type Rule = Arc<dyn Fn(&RowImage, &mut Vec<StoreKey>) -> Result<()> + Send + Sync>;

/// The rules of one cache.
#[derive(Clone)]
pub struct TableRules {
    cache: Arc<str>,
    rules: BTreeMap<TableName, Vec<(Columns, Rule)>>,
}

impl TableRules {
    /// No rules yet, for the cache of this name.
    pub fn new(cache: &str) -> Self {
        Self { cache: cache.into(), rules: BTreeMap::new() }
    }

    /// Adds a rule: `keys_of` names the keys whose values are made from this row of `table`.
    pub fn add<K, F>(&mut self, table: TableName, columns: Columns, keys_of: F)
    where
        K: CacheKey,
        F: Fn(&RowImage) -> Result<Vec<K>> + Send + Sync + 'static,
    {
        let cache = Arc::clone(&self.cache);
        let rule: Rule = Arc::new(move |image, keys| {
            for key in keys_of(image)? {
                keys.push(StoreKey::encode(&cache, &key)?);
            }
            Ok(())
        });
        self.rules.entry(table).or_default().push((columns, rule));
    }

    /// True if there is no rule: no change reaches this cache.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl KeyMap for TableRules {
    fn interests(&self) -> Interests {
        let mut interests = Interests::new();
        for (table, rules) in &self.rules {
            for (columns, _) in rules {
                interests.add(table.clone(), columns);
            }
        }
        interests
    }

    fn keys(&self, change: &RowChange, keys: &mut Vec<StoreKey>) -> Result<()> {
        let Some(rules) = self.rules.get(&change.table) else { return Ok(()) };
        for (_, rule) in rules {
            for image in change.images() {
                rule(image, keys)?;
            }
        }
        Ok(())
    }

    fn depends_on(&self, table: &TableName) -> bool {
        self.rules.contains_key(table)
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

    #[test]
    fn an_update_that_moves_a_row_names_the_old_key_and_the_new_one() {
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
        rules.keys(&other, &mut keys).expect("nothing");
        assert!(keys.is_empty());
    }
}
