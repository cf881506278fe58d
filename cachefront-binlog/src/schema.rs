//! Looks up columns in `information_schema`, for a log that does not name them (`binlog_row_metadata=MINIMAL`).
//!
//! The lookup returns the *current* columns, and rows may be older: if the table was altered in between, they would be
//! decoded wrongly. So each lookup records the position that the server had executed afterwards, and rows of these
//! transactions are not decoded with it. And the log has a definition before other sessions see it, so the lookup after an
//! alteration waits until that is visible.
//!
//! A lookup is dropped when the log shows an alteration. So it outlives its stream only if the next stream continues where that
//! one ended: what only another reader has read, or no one, may have altered the table.

use std::collections::HashMap;

use cachefront_core::event::TableName;
use cachefront_core::source::TableFilter;
use cachefront_core::{Gtid, Position, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::column::codes_of;
use crate::conn::Server;
use crate::mariadb::IDENTITY_PREFIX;
use crate::metadata::Labels;
use crate::origin::wrong_server;
use crate::position::logged;
use crate::rows_of::RowsOf;

/// The server does not know a variable.
const ER_UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;

/// The id of the collation `binary`.
const BINARY: u64 = 63;

/// A table's columns, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableColumns {
    pub(crate) names: Vec<Box<str>>,
    /// The type codes that the log may have for each column; none if the type is not known.
    pub(crate) codes: Vec<&'static [u8]>,
    pub(crate) unsigned: Vec<bool>,
    pub(crate) labels: Vec<Option<Labels>>,
    pub(crate) collations: Vec<Option<u64>>,
}

impl TableColumns {
    /// Returns true if a table map with these types may be one of these columns. Types detect an alteration that was not
    /// recognised, unless the columns that it exchanged have one type.
    pub(crate) fn fit(&self, types: &[u8]) -> bool {
        self.codes.len() == types.len()
            && self.codes.iter().zip(types).all(|(codes, code)| codes.is_empty() || codes.contains(code))
    }
}

/// The lookups, each with the transactions that it is valid for.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    /// The UUID of the server that they are of. `None` before the first stream.
    origin: Option<Box<str>>,
    tables: HashMap<TableName, Found>,
    /// Tables that were looked up and altered since.
    forgotten: Vec<TableName>,
    /// The transactions that altered them.
    altered_by: Position,
}

#[derive(Debug)]
struct Found {
    columns: TableColumns,
    /// The position executed after the lookup: only later transactions are known to have these columns.
    read_at: Position,
}

impl Schema {
    /// Prepares for a stream of the server `origin` from `from` on, after one that has read everything in `read`.
    ///
    /// Keeps a lookup only if each alteration of its table since then would have been read: the streams are of one server, nothing
    /// lies between them, and the filter names the table, because alterations of others are not noted.
    pub(crate) fn continue_from(&mut self, from: &Position, read: &Position, origin: &str, filter: &TableFilter) {
        if self.origin.as_deref() == Some(origin) && read.covers(from) {
            self.tables.retain(|table, _| !filter.is_everything() && filter.get(table).is_some());
        } else {
            *self = Self { origin: Some(origin.into()), ..Self::default() };
        }
    }

    /// Returns the columns of a table, if they are valid for the rows of `gtid`.
    pub(crate) fn columns(&self, table: &TableName, gtid: &Gtid) -> Lookup<'_> {
        match self.tables.get(table) {
            None => Lookup::Unknown,
            Some(found) if found.read_at.contains(gtid) => Lookup::TooNew,
            Some(found) => Lookup::Columns(&found.columns),
        }
    }

    /// Returns true if the table's columns are known and valid for all transactions after `position`.
    pub(crate) fn holds_after(&self, table: &TableName, position: &Position) -> bool {
        self.tables.get(table).is_some_and(|found| position.covers(&found.read_at))
    }

    /// Drops a table's columns because a transaction altered it.
    pub(crate) fn forget(&mut self, table: &TableName, by: &Gtid) {
        if self.tables.remove(table).is_some() {
            self.forgotten.push(table.clone());
            self.altered_by.insert(by);
        }
    }

    /// Drops the columns of all tables because a transaction may have altered any.
    pub(crate) fn forget_all(&mut self, by: &Gtid) {
        if !self.tables.is_empty() {
            self.forgotten.extend(self.tables.drain().map(|(table, _)| table));
            self.altered_by.insert(by);
        }
    }

    /// Takes the tables whose columns were dropped since the last call, and the transactions that altered them.
    pub(crate) fn take_forgotten(&mut self) -> (Vec<TableName>, Position) {
        (std::mem::take(&mut self.forgotten), std::mem::take(&mut self.altered_by))
    }

    /// Looks up a table's columns on the server `origin`. A table that does not exist or is not visible to the user has none.
    ///
    /// # Errors
    /// `Unavailable` if the connection leads to another server, whose columns may differ; otherwise the server's error.
    pub(crate) async fn read(
        &mut self,
        conn: &mut Conn,
        server: &Server,
        origin: &str,
        table: &TableName,
    ) -> Result<()> {
        show_generated_keys(conn, server).await?;
        let columns = read_columns(conn, server, table, origin.starts_with(IDENTITY_PREFIX)).await?;
        // Read after the columns: later transactions cannot have changed the columns that were read.
        let position = async { Ok(logged(conn).await) };
        let (read_at, uuid) = server.within("reading the position", server.query_timeout(), position).await??;
        if uuid != origin {
            return Err(wrong_server("a lookup of columns", server.address(), &uuid, origin));
        }
        self.tables.insert(table.clone(), Found { columns, read_at });
        Ok(())
    }
}

/// The columns of a table at a transaction.
#[derive(Debug)]
pub(crate) enum Lookup<'a> {
    /// They have not been looked up.
    Unknown,
    /// They were looked up after this transaction, which may have had others.
    TooNew,
    Columns(&'a TableColumns),
}

/// Turns on that `information_schema` shows primary keys that the server generated: rows of the log have them. Servers before
/// 8.0.30 have neither.
async fn show_generated_keys(conn: &mut Conn, server: &Server) -> Result<()> {
    let query = async {
        match conn.query_drop("SET SESSION show_gipk_in_create_table_and_information_schema = ON").await {
            Err(mysql_async::Error::Server(refused)) if refused.code == ER_UNKNOWN_SYSTEM_VARIABLE => Ok(()),
            done => done,
        }
    };
    server.within("turning on generated primary keys", server.query_timeout(), query).await
}

async fn read_columns(conn: &mut Conn, server: &Server, table: &TableName, is_mariadb: bool) -> Result<TableColumns> {
    let sql = "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, COALESCE((SELECT MIN(ID) FROM \
               information_schema.COLLATIONS l WHERE l.CHARACTER_SET_NAME = c.CHARACTER_SET_NAME), 0) FROM information_schema.COLUMNS c \
               WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION";
    let query = conn.all_with::<(String, String, String, u64), _, _>(sql, (table.database(), table.name()));
    let rows = server.within(&format!("reading the columns of `{table}`"), server.query_timeout(), query).await?;
    let mut columns = TableColumns::default();
    for (name, data_type, column_type, collation) in rows {
        columns.names.push(name.into());
        columns.codes.push(codes_of(&data_type));
        columns.unsigned.push(column_type.contains("unsigned"));
        columns.labels.push(labels(&column_type));
        // A column without one has bytes.
        columns.collations.push(Some(if collation == 0 { BINARY } else { collation }));
    }
    if is_mariadb {
        for number in 1..=hidden_hashes(conn, server, table).await? {
            columns.names.push(format!("DB_ROW_HASH_{number}").into());
            columns.codes.push(codes_of("bigint"));
            columns.unsigned.push(true);
            columns.labels.push(None);
            columns.collations.push(None);
        }
    }
    if is_mariadb && hides_versions(conn, server, table).await? {
        for name in ["row_start", "row_end"] {
            columns.names.push(name.into());
            columns.codes.push(codes_of("timestamp"));
            columns.unsigned.push(false);
            columns.labels.push(None);
            columns.collations.push(None);
        }
    }
    Ok(columns)
}

/// Returns true for a table of MariaDB that keeps its history in two columns that `information_schema` does not show. They are
/// the last ones, and rows of the log have them.
async fn hides_versions(conn: &mut Conn, server: &Server, table: &TableName) -> Result<bool> {
    let sql = "SELECT TABLE_TYPE = 'SYSTEM VERSIONED' AND NOT EXISTS (SELECT 1 FROM information_schema.COLUMNS c WHERE \
               c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME AND c.GENERATION_EXPRESSION = 'ROW START') \
               FROM information_schema.TABLES t WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?";
    let query = conn.first_with::<Option<bool>, _, _>(sql, (table.database(), table.name()));
    let hidden = server.within(&format!("reading the type of `{table}`"), server.query_timeout(), query).await?;
    Ok(hidden.flatten().unwrap_or_default())
}

/// Returns how many columns a table of MariaDB has that hold the hash of a UNIQUE key over long texts or blobs. They follow the
/// others, `information_schema` does not show them, and rows of the log have them.
async fn hidden_hashes(conn: &mut Conn, server: &Server, table: &TableName) -> Result<u64> {
    let sql = "SELECT COUNT(DISTINCT INDEX_NAME) FROM information_schema.STATISTICS s JOIN information_schema.TABLES t USING \
               (TABLE_SCHEMA, TABLE_NAME) WHERE s.NON_UNIQUE = 0 AND s.INDEX_TYPE = 'HASH' AND t.ENGINE <> 'MEMORY' AND \
               TABLE_SCHEMA = ? AND TABLE_NAME = ?";
    let query = conn.first_with::<u64, _, _>(sql, (table.database(), table.name()));
    let count = server.within(&format!("reading the keys of `{table}`"), server.query_timeout(), query).await?;
    Ok(count.unwrap_or_default())
}

/// Parses the labels in `enum('a','it''s')` or `set(..)`, in which the server escapes backslashes and control characters.
/// Returns `None` for other types.
fn labels(column_type: &str) -> Option<Labels> {
    let list = column_type.strip_prefix("enum(").or_else(|| column_type.strip_prefix("set("))?.strip_suffix(')')?;
    let mut labels = Vec::new();
    let mut rest = list;
    while let Some(quoted) = rest.strip_prefix('\'') {
        let (label, after) = quoted_text(quoted)?;
        labels.push(label.into());
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    rest.is_empty().then(|| labels.into())
}

/// Splits at the closing quote. A doubled quote is part of the text, as a single one.
fn quoted_text(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut characters = quoted.char_indices().peekable();
    while let Some((index, character)) = characters.next() {
        text.push(match character {
            '\\' => match characters.next()?.1 {
                '0' => '\0',
                'n' => '\n',
                'r' => '\r',
                other => other,
            },
            '\'' if characters.next_if(|(_, next)| *next == '\'').is_some() => '\'',
            '\'' => return quoted.get(index + 1..).map(|after| (text, after)),
            other => other,
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use cachefront_core::source::Columns;

    use super::*;

    #[test]
    fn labels_are_parsed_from_the_column_type() {
        let names = |column_type| labels(column_type).map(|labels| labels.join("|"));
        assert_eq!(names("enum('x','it''s','a,b')").as_deref(), Some("x|it's|a,b"));
        assert_eq!(names(r"enum('b\\c','f\ng','\\')").as_deref(), Some("b\\c|f\ng|\\"));
        assert_eq!(names("set('p')").as_deref(), Some("p"));
        assert_eq!(names("varchar(20)"), None);
        assert_eq!(names("enum('x'"), None);
    }

    #[test]
    fn a_table_map_of_other_types_does_not_fit() {
        let columns = |types: &[&str]| TableColumns {
            codes: types.iter().map(|data_type| codes_of(data_type)).collect(),
            ..TableColumns::default()
        };
        let pairs = columns(&["int", "varchar", "enum"]);
        assert!(pairs.fit(&[3, 15, 254]));
        for other in [&[3, 254, 15][..], &[3, 15], &[8, 15, 254], &[3, 15, 254, 3]] {
            assert!(!pairs.fit(other), "{other:?}");
        }
        assert!(columns(&["linestring"]).fit(&[255]), "an unknown type may be any");
    }

    #[test]
    fn columns_are_valid_only_for_transactions_after_their_lookup() {
        let mut schema = Schema::default();
        let table = TableName::from("shop.users");
        let read_at: Position = "a:1-10".parse().expect("a position");
        schema.tables.insert(table.clone(), Found { columns: TableColumns::default(), read_at });
        let gtid = |number| Gtid { origin: "a".into(), number };
        assert!(matches!(schema.columns(&table, &gtid(10)), Lookup::TooNew));
        assert!(matches!(schema.columns(&table, &gtid(11)), Lookup::Columns(_)));
        schema.forget(&table, &gtid(12));
        assert!(matches!(schema.columns(&table, &gtid(11)), Lookup::Unknown));
        assert_eq!(schema.take_forgotten(), (vec![table], "a:12".parse().expect("a position")));
    }

    #[test]
    fn lookups_outlive_their_stream_only_if_the_next_one_continues_it() {
        let position = |text: &str| -> Position { text.parse().expect("a position") };
        let table = TableName::from("shop.users");
        let filter = |table: &str| {
            let mut filter = TableFilter::default();
            filter.add(TableName::from(table), &Columns::All);
            filter
        };
        let is_kept = |read: &str, from: &str, origin: &str, mapped: &str| {
            let mut schema = Schema::default();
            schema.continue_from(&position("a:1-10"), &Position::new(), "server", &filter("shop.users"));
            let found = Found { columns: TableColumns::default(), read_at: position("a:1-10") };
            schema.tables.insert(table.clone(), found);
            schema.continue_from(&position(from), &position(read), origin, &filter(mapped));
            schema.holds_after(&table, &position(from))
        };
        assert!(is_kept("a:1-12", "a:1-12", "server", "shop.users"));
        assert!(is_kept("a:1-12", "a:1-11", "server", "shop.users"), "a part is read again");
        assert!(!is_kept("a:1-12", "a:1-13", "server", "shop.users"), "another reader has read 13");
        assert!(!is_kept("a:1-12", "a:1-12,b:1", "server", "shop.users"), "another reader has read b:1");
        assert!(!is_kept("a:1-12", "a:1-12", "another", "shop.users"));
        assert!(!is_kept("a:1-12", "a:1-12", "server", "shop.orders"), "its alterations are not noted");
    }
}
