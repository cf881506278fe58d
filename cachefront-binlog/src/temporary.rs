//! Temporary tables of sessions that log statements: what a session writes to them changes no other table.

use std::collections::HashSet;

use cachefront_core::event::TableName;

use crate::names::fold_table;

/// Maximum number of tables that are kept. Beyond it all are dropped: a table that is not kept counts as an ordinary one.
const TABLES_MAX: usize = 10_000;

/// The temporary tables, each of one session.
#[derive(Debug, Default)]
pub(crate) struct Temporary {
    tables: HashSet<(u32, TableName)>,
}

impl Temporary {
    /// Notes the table of a session.
    pub(crate) fn created(&mut self, session: u32, table: &TableName) {
        if self.tables.len() >= TABLES_MAX {
            self.clear();
        }
        self.tables.insert((session, fold_table(table)));
    }

    /// Forgets the table of a session.
    pub(crate) fn dropped(&mut self, session: u32, table: &TableName) {
        self.tables.remove(&(session, fold_table(table)));
    }

    /// Returns true if this name is a temporary table of the session.
    pub(crate) fn has(&self, session: u32, table: &TableName) -> bool {
        !self.tables.is_empty() && self.tables.contains(&(session, fold_table(table)))
    }

    /// Forgets all tables: a temporary table does not outlive the server.
    pub(crate) fn clear(&mut self) {
        self.tables.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_table_is_that_of_its_session_until_it_is_dropped() {
        let (mut temporary, table) = (Temporary::default(), TableName::from("shop.t"));
        temporary.created(7, &table);
        assert!(temporary.has(7, &"Shop.T".into()) && !temporary.has(8, &table));
        temporary.dropped(7, &table);
        assert!(!temporary.has(7, &table));
        for number in 0..=TABLES_MAX {
            temporary.created(1, &TableName::new("shop", &format!("t{number}")));
        }
        assert!(temporary.tables.len() <= TABLES_MAX);
    }
}
