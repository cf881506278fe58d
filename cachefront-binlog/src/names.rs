//! The mapped tables, and how their names compare with those of the log and of statements.
//!
//! A server with [`lower_case_table_names`](https://dev.mysql.com/doc/refman/8.4/en/identifier-case-sensitivity.html) 1 or 2
//! compares names without regard to case, by the rules of Unicode. Its log may have another spelling than a mapping; changes
//! are delivered under the name that the mapping has.

use std::collections::HashMap;

use cachefront_core::event::{TableName, fold_char};
use cachefront_core::source::{Columns, TableFilter};
use cachefront_core::{Error, ErrorKind, Result};

use crate::charset::UNKNOWN;

/// How the server compares the names of databases and tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Casing {
    /// `lower_case_table_names=0`: names are equal if their characters are.
    Exact,
    /// 1 or 2: without regard to case.
    Folded,
    /// There is no server to ask. Names are compared without regard to case, unless a table of the log has a mapped one's
    /// exact name.
    #[default]
    Unknown,
}

impl Casing {
    /// The rule of a server with this value of `lower_case_table_names`.
    pub(crate) fn of_server(lower_case_table_names: u64) -> Self {
        if lower_case_table_names == 0 { Self::Exact } else { Self::Folded }
    }
}

/// The mapped tables.
#[derive(Debug)]
pub(crate) struct Names {
    filter: TableFilter,
    casing: Casing,
    /// Each mapped table by its folded name, if the server folds names or may do so.
    folded: HashMap<TableName, TableName>,
}

impl Names {
    /// # Errors
    /// `Config` if two mappings name one table in different ways: its changes are delivered under one name.
    pub(crate) fn new(filter: TableFilter, casing: Casing) -> Result<Self> {
        match Self::index(filter, casing) {
            (_, Some((one, other))) if casing == Casing::Folded => Err(twice(&one, &other)),
            (names, _) => Ok(names),
        }
    }

    /// The tables of files, for which there is no server to ask.
    pub(crate) fn of_files(filter: TableFilter) -> Self {
        Self::index(filter, Casing::Unknown).0
    }

    /// Returns the names, and two of them that differ in their case only.
    fn index(filter: TableFilter, casing: Casing) -> (Self, Option<(TableName, TableName)>) {
        let (mut folded, mut twice) = (HashMap::new(), None);
        for (table, _) in filter.iter() {
            let other = folded.insert(table.folded(), table.clone());
            twice = twice.or(other.map(|other| (other, table.clone())));
        }
        (Self { filter, casing, folded }, twice)
    }

    /// Returns true if every table is of interest.
    pub(crate) fn is_everything(&self) -> bool {
        self.filter.is_everything()
    }

    /// Returns the mapping's name of a table of the log, and the columns to read; `None` if it is not mapped.
    pub(crate) fn mapped(&self, logged: &TableName) -> Option<(TableName, &Columns)> {
        if let Some(columns) = self.filter.get(logged) {
            return Some((logged.clone(), columns));
        }
        let own = self.folded.get(&logged.folded()).filter(|_| self.casing != Casing::Exact)?;
        self.filter.get(own).map(|columns| (own.clone(), columns))
    }

    /// Returns the mapped tables that a statement may mean by this name.
    pub(crate) fn meant_by(&self, written: &TableName) -> impl Iterator<Item = &TableName> {
        self.tables()
            .filter(|own| self.may_be(written.database(), own.database()) && self.may_be(written.name(), own.name()))
    }

    /// Returns the mapped tables of the database that a statement may mean by this name.
    pub(crate) fn of_database(&self, written: &str) -> impl Iterator<Item = &TableName> {
        self.tables().filter(move |own| self.may_be(written, own.database()))
    }

    /// Returns the mapped tables.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &TableName> {
        self.filter.iter().map(|(table, _)| table)
    }

    /// Returns true if a name of a statement, in which characters may be unknown, may be this one.
    fn may_be(&self, written: &str, own: &str) -> bool {
        let same = |written: char, own: char| match self.casing {
            Casing::Exact => written == own,
            Casing::Folded | Casing::Unknown => fold_char(written) == fold_char(own),
        };
        let mut own = own.chars();
        written.chars().all(|written| own.next().is_some_and(|own| written == UNKNOWN || same(written, own)))
            && own.next().is_none()
    }
}

/// The error of two mappings that name one table in different spellings.
pub(crate) fn twice(one: &TableName, other: &TableName) -> Error {
    Error::new(
        ErrorKind::Config,
        format!(
            "the mapped tables `{one}` and `{other}` are one table, because the server compares names without regard to \
             case (lower_case_table_names): use one spelling in all mappings"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tables: &[(&str, &str)], casing: Casing) -> Result<Names> {
        let mut filter = TableFilter::new();
        for &table in tables {
            filter.add(table.into(), &Columns::All);
        }
        Names::new(filter, casing)
    }

    fn meant(names: &Names, database: &str, name: &str) -> Vec<String> {
        names.meant_by(&TableName::new(database, name)).map(ToString::to_string).collect()
    }

    #[test]
    fn a_server_that_folds_names_finds_a_mapping_in_any_case() {
        let folded = names(&[("Shop", "Übersicht"), ("shop", "users")], Casing::Folded).expect("names");
        let (own, _) = folded.mapped(&TableName::new("shop", "übersicht")).expect("it is mapped");
        assert_eq!(own, TableName::new("Shop", "Übersicht"), "changes come under the mapping's name");
        assert_eq!(meant(&folded, "SHOP", "ÜBERSICHT"), ["Shop.Übersicht"]);
        assert_eq!(folded.of_database("sHOP").count(), 2);
        let exact = names(&[("Shop", "Übersicht"), ("shop", "users")], Casing::Exact).expect("names");
        assert!(exact.mapped(&TableName::new("shop", "übersicht")).is_none());
        assert_eq!(meant(&exact, "shop", "USERS"), [""; 0]);
        assert_eq!(exact.of_database("shop").count(), 1);
    }

    #[test]
    fn one_table_under_two_names_is_refused_if_the_server_folds_them() {
        let tables = [("shop", "users"), ("shop", "Users")];
        names(&tables, Casing::Exact).expect("two tables");
        let error = names(&tables, Casing::Folded).expect_err("one table");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("`shop.Users`") && error.to_string().contains("`shop.users`"), "{error}");
    }

    #[test]
    fn an_unknown_character_may_be_any_one() {
        let names = names(&[("shop", "表"), ("shop", "ab"), ("shop", "表b")], Casing::Exact).expect("names");
        assert_eq!(meant(&names, "shop", "\u{fffd}"), ["shop.表"]);
        assert_eq!(meant(&names, "shop", "\u{fffd}b"), ["shop.ab", "shop.表b"]);
        assert_eq!(meant(&names, "sho\u{fffd}", "表"), ["shop.表"]);
        assert_eq!(meant(&names, "shop", "\u{fffd}\u{fffd}\u{fffd}"), [""; 0]);
    }

    #[test]
    fn database_and_table_are_compared_as_a_pair() {
        let names = names(&[("shop.example.org", "users"), ("shop", "users")], Casing::Exact).expect("names");
        assert_eq!(meant(&names, "shop", "example.org.users"), [""; 0]);
        assert_eq!(meant(&names, "shop.example.org", "users"), ["shop.example.org.users"]);
        assert!(names.mapped(&TableName::new("shop", "example.org.users")).is_none());
        assert_eq!(names.of_database("shop.example.org").count(), 1);
    }
}
