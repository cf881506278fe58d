//! What the statements of the log change.
//!
//! | statement | change |
//! |---|---|
//! | CREATE TABLE with a query, without the rows | the table if it is mapped, or any table if the query may read a view |
//! | CREATE TEMPORARY TABLE with a query | any table if the query may read a view |
//! | DDL on tables, TRUNCATE, RENAME | [`Change::Tables`] of the tables that it names, if they are mapped |
//! | DROP DATABASE | [`Change::Tables`] of the mapped tables of that database |
//! | INSERT, UPDATE, DELETE, LOAD DATA without rows | the mapped ones of its tables, or any table |
//! | XA COMMIT | the rows that were kept since XA PREPARE, or any table |
//! | ROLLBACK, ROLLBACK TO | the rows that were logged, whose images are no values |
//! | not recognised | any table |
//! | everything else | none |
//!
//! "Any table" is a [`Change::Tables`] without names, which flushes every cache. The table maps that
//! follow a statement may describe other columns than before, so the maps and the looked-up
//! columns of changed tables are dropped with it.

use std::collections::BTreeSet;

use cachefront_core::event::{Change, TableName};
use cachefront_core::{Error, Gtid, Result};

use super::{Assembler, outside};
use crate::error::{as_gap, gap};
use crate::event;
use crate::mariadb::set;
use crate::queue::Piece;
use crate::statement::{self, Statement};
use crate::xa::Kept;

impl Assembler {
    /// Applies a statement: the begin or end of a transaction, or DDL.
    ///
    /// # Errors
    /// `Gap` if a change is outside of a transaction, or all tables are asked for and its rows are
    /// unknown.
    pub(super) fn query(&mut self, query: &event::Query<'_>, size: usize, out: &mut Vec<Piece>) -> Result<()> {
        let statement = statement::classify(query);
        if self.open.is_none() {
            return if statement == Statement::Harmless { Ok(()) } else { Err(outside()) };
        }
        if let Some(done) = self.control(&statement, query, out) {
            return done;
        }
        let open = self.open.as_mut().ok_or_else(outside)?;
        let is_written = matches!(statement, Statement::Rows(_));
        let is_xa_end = matches!(statement, Statement::XaCommit(_) | Statement::XaRollback(_));
        let change = match statement {
            Statement::Rows(_) if self.names.is_everything() => return Err(statement_format(query, Some(&open.gtid))),
            Statement::Rows(targets) => self.written(&targets, query),
            Statement::Temporary { table, filled } => {
                self.temporary.created(query.session, &table);
                if filled { self.filled(Vec::new(), query) } else { None }
            }
            Statement::NoTemporary(tables) => {
                tables.iter().for_each(|table| self.temporary.dropped(query.session, table));
                None
            }
            // The statements of transactions are done above.
            Statement::Begin | Statement::Commit | Statement::Rollback | Statement::RollbackTo => None,
            Statement::Inside | Statement::Harmless => None,
            Statement::Created(tables) => self.created(tables, query),
            Statement::XaRollback(xid) => {
                self.prepared.forget(&xid);
                None
            }
            Statement::XaCommit(xid) => match self.prepared.forget(&xid) {
                Some((changes, visible)) => {
                    open.changes.extend(changes);
                    open.visible &= visible;
                    None
                }
                None => Some(any_table("an XA transaction committed whose rows were not kept".into())),
            },
            Statement::Tables(tables) => {
                // One of them may have been a temporary table, of which the name is free now.
                tables.iter().for_each(|table| self.temporary.dropped(query.session, table));
                self.tables_changed(tables, query)
            }
            Statement::Filled(tables) => self.filled(tables, query),
            Statement::Databases(databases) if !self.names.is_everything() => {
                let of_database = |database: &String| self.names.of_database(database).cloned().collect::<Vec<_>>();
                let tables = databases.iter().flat_map(of_database).collect();
                self.tables_changed(tables, query)
            }
            Statement::Databases(_) | Statement::Anything => {
                self.schema.forget_all(&open.gtid);
                self.temporary.clear();
                self.maps.clear();
                self.unsettled.extend(self.names.tables().cloned());
                Some(any_table(shorten(query.text)))
            }
        };
        let open = self.open.as_mut().ok_or_else(outside)?;
        if !is_written {
            self.effects.note(query.text, &open.gtid);
        }
        let known = open.changes.len();
        open.changes.extend(change);
        open.note(known, size);
        // On MariaDB the end of a prepared transaction is one of its own.
        if is_xa_end {
            return self.end(out);
        }
        // DDL commits implicitly. After BEGIN it is the first part of CREATE TABLE .. SELECT.
        if open.begun { Ok(()) } else { self.end(out) }
    }

    /// Applies a statement that begins a transaction, ends it or undoes a part of it. `None` if it is another one.
    fn control(&mut self, statement: &Statement, query: &event::Query<'_>, out: &mut Vec<Piece>) -> Option<Result<()>> {
        let open = self.open.as_mut()?;
        match statement {
            Statement::Begin => {
                open.begun = true;
                if query.text.starts_with(b"XA") {
                    open.kept = Some(Kept::new());
                }
            }
            Statement::Commit => return Some(self.end(out)),
            Statement::Rollback => {
                open.visible = false;
                return Some(self.end(out));
            }
            Statement::RollbackTo => open.visible = false,
            Statement::Inside => {}
            _ => return None,
        }
        Some(Ok(()))
    }

    /// Ends the first phase of an XA transaction. Its changes are kept: the log does not repeat them at XA COMMIT, and only
    /// then do readers see them.
    pub(super) fn xa_prepare(&mut self, body: &[u8], out: &mut Vec<Piece>) -> Result<()> {
        let (one_phase, xid) = event::xa_prepare(body).map_err(|e| as_gap("an XA event", e))?;
        let open = self.open.as_mut().ok_or_else(outside)?;
        let kept = open.kept.take();
        if !one_phase {
            self.prepared.remember(xid, kept.and_then(Kept::finish), open.visible);
            open.visible = false;
        }
        self.end(out)
    }

    /// The change by a statement whose rows are not in the log. `None` if no mapped table can have changed.
    ///
    /// A statement that may have changed other tables than it names counts as a change of any
    /// table, with the right that would avoid that in its reason.
    fn written(&mut self, targets: &[TableName], query: &event::Query<'_>) -> Option<Change> {
        let gtid = self.open.as_ref().map(|open| &open.gtid)?;
        let reason = || written_reason(query, Some(gtid));
        if targets.is_empty() {
            return Some(any_table(reason()));
        }
        // A temporary table has neither triggers nor foreign keys, and hides the table of its name.
        let own = |table: &&TableName| !self.temporary.has(query.session, table);
        let targets: Vec<&TableName> = targets.iter().filter(own).collect();
        if targets.iter().any(|table| self.effects.may_follow(table, gtid))
            || self.effects.may_read_view(query.text, gtid)
        {
            let hint = match self.effects.are_known() {
                true => "",
                false => {
                    "; with GRANT SELECT, TRIGGER ON *.* for the source's user only the tables that it names are flushed"
                }
            };
            return Some(any_table(reason() + hint));
        }
        let meant: BTreeSet<_> = targets.iter().flat_map(|table| self.names.meant_by(table)).cloned().collect();
        let tables: Vec<TableName> = meant.into_iter().collect();
        (!tables.is_empty()).then(|| Change::Tables { tables, reason: reason() })
    }

    /// The change by a statement that creates a table. Tools that read all tables get it. For a cache no row has changed, and the
    /// statement may have had no effect (IF NOT EXISTS): it counts if the table did not exist before, or may have been
    /// dropped, so that its definition is checked.
    fn created(&mut self, written: Vec<TableName>, query: &event::Query<'_>) -> Option<Change> {
        let meant =
            |table: &TableName| written.iter().any(|written| self.names.meant_by(written).any(|own| own == table));
        let (new, others): (BTreeSet<_>, BTreeSet<_>) =
            std::mem::take(&mut self.unsettled).into_iter().partition(|table| meant(table));
        let change = self.tables_changed(written, query);
        self.unsettled = others;
        change.filter(|_| !new.is_empty() || self.names.is_everything())
    }

    /// The change by a statement that creates a table and fills it from a query, which is logged without the rows.
    fn filled(&mut self, tables: Vec<TableName>, query: &event::Query<'_>) -> Option<Change> {
        let change = self.tables_changed(tables, query);
        let gtid = self.open.as_ref().map(|open| &open.gtid)?;
        match self.names.is_everything() || !self.effects.may_read_view(query.text, gtid) {
            true => change,
            false => Some(any_table(written_reason(query, Some(gtid)))),
        }
    }

    /// Notes tables that may be created next, with another definition than was checked.
    pub(crate) fn expect_new(&mut self, tables: impl IntoIterator<Item = TableName>) {
        self.unsettled.extend(tables);
    }

    /// The change of the mapped tables that a statement may mean by these names. `None` if it means none of them.
    fn tables_changed(&mut self, written: Vec<TableName>, query: &event::Query<'_>) -> Option<Change> {
        let tables: Vec<TableName> = match self.names.is_everything() {
            true => written,
            false => {
                let meant: BTreeSet<_> = written.iter().flat_map(|table| self.names.meant_by(table)).cloned().collect();
                meant.into_iter().collect()
            }
        };
        // Looked-up columns and table maps may not be valid any more.
        if let Some(open) = &self.open {
            tables.iter().for_each(|table| self.schema.forget(table, &open.gtid));
        }
        if !self.names.is_everything() {
            self.unsettled.extend(tables.iter().cloned());
        }
        self.maps.clear();
        (!tables.is_empty()).then(|| Change::Tables { tables, reason: shorten(query.text) })
    }
}

/// The change of any row of any table.
///
/// The reason ends up in the log of the invalidator and in the panel.
fn any_table(reason: String) -> Change {
    Change::Tables { tables: Vec::new(), reason }
}

/// The error of tools, which print rows and have no use for a table's name.
fn statement_format(query: &event::Query<'_>, gtid: Option<&Gtid>) -> Error {
    gap(written_reason(query, gtid))
}

/// Names the statement by its first words only: the rest has data of users.
fn written_reason(query: &event::Query<'_>, gtid: Option<&Gtid>) -> String {
    format!(
        "rows were changed by a statement whose rows are not in the log ({}): {}, and let no session change it",
        shorten(query.text),
        set(gtid, "binlog_format", "ROW")
    )
}

/// The first words of a statement: enough to identify it, without its data.
///
/// At most four words, 80 characters, and nothing after the first parenthesis, quote or `=`.
fn shorten(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let head = text.split(['(', '\'', '"', '=']).next().unwrap_or_default();
    let words: Vec<&str> = head.split_whitespace().take(4).collect();
    let mut short: String = words.join(" ").chars().take(80).collect();
    if short.len() < text.trim().len() {
        short.push_str(" ..");
    }
    short
}
