//! Which tables and columns mappings read.

use std::collections::BTreeMap;

use crate::event::TableName;

/// Which columns of a table a mapping reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Columns {
    /// All of them.
    All,
    /// These. A source need not decode any other.
    Only(Vec<Box<str>>),
}

impl Columns {
    /// Adds what another mapping of the same table reads.
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

/// The tables that mappings ask for, each with its columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableFilter {
    tables: BTreeMap<TableName, Columns>,
    /// Tables that nobody named are of interest too.
    everything: bool,
}

impl TableFilter {
    /// No tables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every table with all its columns, for tools that show a log as it is. Mappings name their tables: with this, any
    /// change of any table's definition is a change that concerns them.
    pub fn everything() -> Self {
        Self { tables: BTreeMap::new(), everything: true }
    }

    /// True if tables that nobody named are of interest too.
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// Adds a mapping's table and columns.
    pub fn add(&mut self, table: TableName, columns: &Columns) {
        self.tables.entry(table).and_modify(|mine| mine.merge(columns)).or_insert_with(|| columns.clone());
    }

    /// Adds everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        for (table, columns) in &other.tables {
            self.add(table.clone(), columns);
        }
        self.everything |= other.everything;
    }

    /// What is asked for of a table, `database.table`; nothing if it is of no interest.
    pub fn get(&self, table: &str) -> Option<&Columns> {
        match self.everything {
            true => Some(&Columns::All),
            false => self.tables.get(&TableName::from(table)),
        }
    }

    /// All tables that were named, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&TableName, &Columns)> {
        self.tables.iter()
    }

    /// True if no table is asked for.
    pub fn is_empty(&self) -> bool {
        !self.everything && self.tables.is_empty()
    }
}
