//! The tables and columns that mappings read.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::TableName;

/// The columns of a table that a mapping reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Columns {
    /// All columns.
    All,
    /// These columns. A source need not decode any other.
    Only(Vec<Box<str>>),
}

impl Columns {
    /// Adds the columns that another mapping of the same table reads.
    pub fn merge(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::All, _) => {}
            (_, Self::All) => *self = Self::All,
            (Self::Only(mine), Self::Only(theirs)) => {
                for name in theirs {
                    if !mine.contains(name) {
                        mine.push(name.clone());
                    }
                }
            }
        }
    }
}

/// The tables that mappings read, each with its columns.
///
/// ```
/// use cachefront::source::{Columns, TableFilter};
///
/// let mut filter = TableFilter::new();
/// filter.add("shop.users".into(), &Columns::Only(vec!["id".into()]));
/// filter.add("shop.users".into(), &Columns::Only(vec!["email".into()]));
/// assert_eq!(filter.get(&"shop.users".into()), Some(&Columns::Only(vec!["id".into(), "email".into()])));
/// assert_eq!(filter.get(&"shop.orders".into()), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableFilter {
    tables: BTreeMap<TableName, Columns>,
    /// The columns that mappings name, also those of a table of which another mapping reads all.
    named: BTreeMap<TableName, Vec<Box<str>>>,
    /// The tables whose rows give values of entries.
    valued: BTreeSet<TableName>,
    /// Another program reads the log and sends rows as text. These columns, `database.table.column`, have a type there.
    relayed: Option<BTreeSet<Box<str>>>,
    /// Every other table is included, with all columns.
    everything: bool,
}

impl TableFilter {
    /// Returns a filter without tables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a filter that includes every table with all columns, for tools that print a log. Mappings should name their
    /// tables: with this filter, a change of any table's definition concerns them.
    pub fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    /// Returns true if every table is included.
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// Adds a mapping's table and columns.
    pub fn add(&mut self, table: TableName, columns: &Columns) {
        if let Columns::Only(names) = columns {
            self.name(&table, names);
        }
        self.tables.entry(table).and_modify(|mine| mine.merge(columns)).or_insert_with(|| columns.clone());
    }

    fn name(&mut self, table: &TableName, names: &[Box<str>]) {
        let named = self.named.entry(table.clone()).or_default();
        for name in names {
            if !named.contains(name) {
                named.push(name.clone());
            }
        }
    }

    /// Adds the tables and columns of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (table, columns) in &other.tables {
            self.add(table.clone(), columns);
        }
        for (table, names) in &other.named {
            self.name(table, names);
        }
        self.valued.extend(other.valued.iter().cloned());
        if let Some(typed) = &other.relayed {
            self.relayed.get_or_insert_default().extend(typed.iter().cloned());
        }
        self.everything |= other.everything;
    }

    /// Notes that values of entries are made from rows of this table; see
    /// [`CacheBuilder::refresh_in_place`](crate::CacheBuilder::refresh_in_place).
    pub fn add_row_values(&mut self, table: TableName) {
        self.valued.insert(table);
    }

    /// Returns true if values of entries are made from rows of this table. A source whose log has rows of the table that
    /// readers do not get must refuse it.
    pub fn has_row_values(&self, table: &TableName) -> bool {
        self.valued.contains(table)
    }

    /// Notes that another program reads the log and sends its rows as text, as Debezium does, and which columns
    /// (`database.table.column`) have a type there. A server is checked for what that program needs then.
    #[must_use]
    pub fn relayed<T: Into<Box<str>>>(mut self, typed: impl IntoIterator<Item = T>) -> Self {
        self.relayed.get_or_insert_default().extend(typed.into_iter().map(Into::into));
        self
    }

    /// Returns true if another program reads the log.
    pub fn is_relayed(&self) -> bool {
        self.relayed.is_some()
    }

    /// Returns true if the program that reads the log has a type for a column, whose name is compared without regard to case.
    pub fn is_typed(&self, table: &TableName, column: &str) -> bool {
        let name = format!("{table}.{column}");
        self.relayed.iter().flatten().any(|typed| typed.eq_ignore_ascii_case(&name))
    }

    /// Returns the columns to read of `table`; `None` if the table is not included.
    pub fn get(&self, table: &TableName) -> Option<&Columns> {
        match self.everything {
            true => Some(&Columns::All),
            false => self.tables.get(table),
        }
    }

    /// Returns the columns of `table` that mappings name. A source checks these, for example for collations, also if another
    /// mapping reads all columns.
    pub fn named(&self, table: &TableName) -> &[Box<str>] {
        self.named.get(table).map_or(&[], |names| names)
    }

    /// Returns the tables that were added, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&TableName, &Columns)> {
        self.tables.iter()
    }

    /// Returns true if the filter has no table.
    pub fn is_empty(&self) -> bool {
        !self.everything && self.tables.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_of_all_columns_does_not_hide_those_that_another_names() {
        let table = TableName::from("shop.orders");
        let only = Columns::Only(vec!["email".into()]);
        for columns in [[&only, &Columns::All], [&Columns::All, &only]] {
            let mut filters = columns.map(|columns| {
                let mut filter = TableFilter::new();
                filter.add(table.clone(), columns);
                filter
            });
            let [first, second] = &mut filters;
            first.merge(second);
            assert_eq!((first.get(&table), first.named(&table)), (Some(&Columns::All), &["email".into()][..]));
        }
        assert!(TableFilter::everything().named(&table).is_empty());
    }

    #[test]
    fn what_one_mapping_asks_for_holds_for_all() {
        let (mut all, mut one) = (TableFilter::new(), TableFilter::new());
        one.add_row_values("shop.orders".into());
        all.merge(&one);
        all.merge(&TableFilter::new().relayed(["shop.orders.id"]));
        assert!(all.is_relayed() && !one.is_relayed());
        assert!(all.is_typed(&"shop.orders".into(), "ID") && !all.is_typed(&"shop.orders".into(), "key"));
        assert!(all.has_row_values(&"shop.orders".into()) && !all.has_row_values(&"shop.users".into()));
    }
}
