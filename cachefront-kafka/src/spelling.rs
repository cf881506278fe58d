//! The names of tables in a log whose server folds names.
//!
//! A server with [`lower_case_table_names`] 1 or 2 finds a table under any case of its name, and writes the name in lower case
//! into its log, so the connector's records and topics have it in lower case too. Which servers do so cannot be seen in the
//! records. A mapped table whose name is not in lower case is therefore looked for under both names, and its changes are
//! delivered under the name that the mapping has. Events are counted under the name in the record: where case counts, the two
//! are different tables.
//!
//! [`lower_case_table_names`]: https://dev.mysql.com/doc/refman/8.4/en/identifier-case-sensitivity.html

use std::collections::HashMap;

use cachefront_core::event::TableName;
use cachefront_core::source::TableFilter;

/// The mapped tables whose names are not in lower case, by their names in lower case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spellings(HashMap<TableName, TableName>);

impl Spellings {
    /// A name in lower case that is mapped itself is a table of its own.
    pub(crate) fn new(filter: &TableFilter) -> Self {
        let spelled = filter.iter().filter_map(|(table, _)| {
            let logged = table.lower();
            filter.get(&logged).is_none().then(|| (logged, table.clone()))
        });
        Self(spelled.collect())
    }

    /// Returns the mapping's name of a table whose name in the log may differ from it; `None` if it is the same.
    pub(crate) fn mapped(&self, logged: &TableName) -> Option<&TableName> {
        self.0.get(logged)
    }

    /// Returns the mapping's names of tables, each once.
    pub(crate) fn all_mapped(&self, tables: Vec<TableName>) -> Vec<TableName> {
        if self.0.is_empty() {
            return tables;
        }
        let mut named = Vec::with_capacity(tables.len());
        for table in tables {
            let table = self.mapped(&table).cloned().unwrap_or(table);
            if !named.contains(&table) {
                named.push(table);
            }
        }
        named
    }

    /// Returns the tables under all names that the log may have.
    pub(crate) fn logged(&self, filter: &TableFilter) -> TableFilter {
        let mut logged = filter.clone();
        for (name, mapped) in &self.0 {
            if let Some(columns) = filter.get(mapped) {
                logged.add(name.clone(), columns);
            }
        }
        logged
    }

    /// Returns each name in lower case with the mapping's name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TableName, &TableName)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use cachefront_core::source::Columns;

    use super::*;

    fn filter(tables: &[&str]) -> TableFilter {
        let mut filter = TableFilter::new();
        for &table in tables {
            filter.add(table.into(), &Columns::All);
        }
        filter
    }

    fn names(filter: &TableFilter) -> Vec<&str> {
        let mut names: Vec<&str> = filter.iter().map(|(table, _)| table.as_str()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_table_is_looked_for_in_lower_case_too() {
        let mapped = filter(&["Shop.Users", "shop.orders", "SHOP.Übersicht"]);
        let spellings = Spellings::new(&mapped);
        let logged = spellings.logged(&mapped);
        assert_eq!(names(&logged), ["SHOP.Übersicht", "Shop.Users", "shop.orders", "shop.users", "shop.übersicht"]);
        assert_eq!(spellings.mapped(&"shop.users".into()).map(TableName::as_str), Some("Shop.Users"));
        assert_eq!(spellings.mapped(&"shop.orders".into()), None);
        let both = vec!["Shop.Users".into(), "shop.users".into(), "shop.orders".into()];
        assert_eq!(spellings.all_mapped(both), ["Shop.Users".into(), TableName::from("shop.orders")]);
    }

    #[test]
    fn tables_that_differ_in_case_only_may_both_be_mapped() {
        let mapped = filter(&["shop.Users", "shop.users"]);
        let spellings = Spellings::new(&mapped);
        assert_eq!(names(&spellings.logged(&mapped)), ["shop.Users", "shop.users"]);
        assert_eq!(spellings.mapped(&"shop.users".into()), None);
    }

    #[test]
    fn a_dot_in_a_name_stays_where_it_is() {
        let mut mapped = TableFilter::new();
        let table = TableName::new("Shop.Example", "Users");
        mapped.add(table.clone(), &Columns::All);
        assert_eq!(Spellings::new(&mapped).mapped(&TableName::new("shop.example", "users")), Some(&table));
    }
}
