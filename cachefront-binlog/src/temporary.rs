//! Temporary tables of sessions that log statements: what a session writes to them changes no other table.
//!
//! A name counts as temporary only if it surely is: it is compared exactly, because a server may distinguish the case of names,
//! and one with an unknown character never is. What may have ended a temporary table forgets every name that may be meant.

use std::collections::HashSet;

use cachefront_core::event::TableName;

use crate::charset::UNKNOWN;

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
        if !is_uncertain(table) {
            self.tables.insert((session, table.clone()));
        }
    }

    /// Forgets the tables of a session that this name may mean.
    pub(crate) fn dropped(&mut self, session: u32, table: &TableName) {
        if self.tables.is_empty() {
            return;
        }
        let (uncertain, folded) = (is_uncertain(table), table.folded());
        self.tables.retain(|(own, kept)| *own != session || !uncertain && kept.folded() != folded);
    }

    /// Returns true if this name is a temporary table of the session.
    pub(crate) fn has(&self, session: u32, table: &TableName) -> bool {
        !self.tables.is_empty() && self.tables.contains(&(session, table.clone()))
    }

    /// Forgets all tables: a temporary table does not outlive the server.
    pub(crate) fn clear(&mut self) {
        self.tables.clear();
    }
}

/// Returns true if a name has a character that is not known.
fn is_uncertain(table: &TableName) -> bool {
    table.database().contains(UNKNOWN) || table.name().contains(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_table_is_that_of_its_session_until_it_is_dropped() {
        let (mut temporary, table) = (Temporary::default(), TableName::from("shop.t"));
        temporary.created(7, &table);
        assert!(temporary.has(7, &table) && !temporary.has(8, &table));
        temporary.dropped(8, &table);
        assert!(temporary.has(7, &table));
        temporary.dropped(7, &table);
        assert!(!temporary.has(7, &table));
        for number in 0..=TABLES_MAX {
            temporary.created(1, &TableName::new("shop", &format!("t{number}")));
        }
        assert!(temporary.tables.len() <= TABLES_MAX);
    }

    #[test]
    fn a_name_that_is_not_certain_is_no_temporary_table() {
        let mut temporary = Temporary::default();
        temporary.created(7, &"shop.T".into());
        assert!(!temporary.has(7, &"shop.t".into()), "the server may distinguish the two");
        temporary.dropped(7, &"Shop.t".into());
        assert!(!temporary.has(7, &"shop.T".into()), "and may not");
        let unknown = TableName::new("shop", "\u{fffd}");
        temporary.created(7, &unknown);
        assert!(!temporary.has(7, &unknown));
        temporary.created(7, &"shop.t".into());
        temporary.dropped(7, &unknown);
        assert!(!temporary.has(7, &"shop.t".into()));
    }
}
