//! Classifies the statements of the log by their possible effect on cached rows. A statement that is not recognised may have
//! changed any row.
//!
//! The crate has its own lexer and parser instead of a parser of full SQL such as `sqlparser`. Only the head of a statement
//! matters: its verb, its object and the names of tables. A full parser returns an error for each clause of MySQL that it
//! does not know, although the head is clear, and each such error would flush everything.
//!
//! | verb | effect |
//! |---|---|
//! | BEGIN, START TRANSACTION, XA START | [`Statement::Begin`] |
//! | COMMIT | [`Statement::Commit`] |
//! | ROLLBACK of a whole transaction | [`Statement::Rollback`] |
//! | ROLLBACK TO | [`Statement::RollbackTo`] |
//! | SAVEPOINT, RELEASE, XA END | [`Statement::Inside`] |
//! | CREATE TABLE | [`Statement::Created`]; with a query [`Statement::Filled`] |
//! | ALTER, DROP, RENAME, TRUNCATE, REPAIR of tables, DDL on views | [`Statement::Tables`] |
//! | DROP DATABASE | [`Statement::Databases`] |
//! | INSERT, UPDATE, DELETE, REPLACE, LOAD, CALL, WITH, DO, SELECT | [`Statement::Rows`] |
//! | DDL on other objects, GRANT, SET, FLUSH, ANALYZE and the like | [`Statement::Harmless`] |
//! | anything else | [`Statement::Anything`] |
//!
//! A statement is read in the character set and the SQL mode of its session. Servers also log text in another character set
//! than they say (CREATE TABLE .. SELECT is in UTF-8), so a text that is not ASCII is read in each way that it may be meant,
//! and has all of the effects.

mod lexer;
mod write;

use std::borrow::Cow;

use cachefront_core::event::TableName;

use crate::charset::{Charset, to_latin1};
use crate::event::Query;
use lexer::{Quoting, Token, Tokens, Unread, has_conditional, has_dollars};

/// The effect of a statement on a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    /// A transaction begins (BEGIN, XA START).
    Begin,
    /// The transaction commits.
    Commit,
    /// The transaction ends, and its changes are undone as far as the engines of its tables can: some of those that were
    /// logged are valid.
    Rollback,
    /// The changes since a savepoint are undone, as far as the engines of their tables can.
    RollbackTo,
    /// SAVEPOINT, XA END and the like, which do not end the transaction.
    Inside,
    /// A prepared XA transaction commits.
    XaCommit(Vec<u8>),
    /// A prepared XA transaction is rolled back.
    XaRollback(Vec<u8>),
    /// No row changes.
    Harmless,
    /// A table was created, or existed and is unchanged (IF NOT EXISTS). Its rows, if it is created from a query, are logged
    /// as row events. Its columns may differ from those of an older table of the same name.
    ///
    /// More than one name is one table whose name is not certain.
    Created(Vec<TableName>),
    /// A table was created from a query that is logged instead of its rows. More than one name is one table.
    Filled(Vec<TableName>),
    /// All rows of these tables may have changed.
    Tables(Vec<TableName>),
    /// All rows of all tables of these databases may have changed.
    Databases(Vec<String>),
    /// Any row may have changed.
    Anything,
    /// A change of rows of these tables that was logged as a statement, so that the rows are unknown. Without a table, the
    /// statement may change rows of any. What triggers and foreign keys do besides is not in the log.
    Rows(Vec<TableName>),
    /// A temporary table was created; `filled` if from a query, which is logged instead of what it has changed besides.
    Temporary { table: TableName, filled: bool },
    /// Temporary tables were dropped.
    NoTemporary(Vec<TableName>),
}

/// Classifies a statement.
pub(crate) fn classify(query: &Query<'_>) -> Statement {
    // Fast path for the statements of every transaction.
    match query.text {
        b"BEGIN" => return Statement::Begin,
        b"COMMIT" => return Statement::Commit,
        _ => {}
    }
    let database = String::from_utf8_lossy(query.database);
    let quotings: &[Quoting] = match query.sql_mode {
        Some(mode) => &[Quoting::of_mode(mode)],
        None => &Quoting::ALL,
    };
    let (texts, is_known) = readings(query);
    let read = texts.iter().flat_map(|text| {
        let (conditional, dollars) = (has_conditional(text), has_dollars(text));
        let each = quotings.iter().flat_map(move |quoting| quoting.variants(conditional, dollars));
        each.map(|quoting| Tokens::read(text, quoting))
    });
    let effects = read.filter_map(|read| match read {
        Ok(tokens) => Some(Parser { tokens, database: &database }.statement().unwrap_or(Statement::Anything)),
        // The server has read the text in another way.
        Err(Unread::Unclosed) => None,
        Err(Unread::Unsure) => Some(Statement::Anything),
    });
    effects.chain((!is_known).then_some(Statement::Anything)).reduce(either).unwrap_or(Statement::Anything)
}

/// The texts that a statement's bytes may mean: in the client's character set, in UTF-8, and in UTF-8 whose bytes were
/// converted as if they were latin1. False if it may mean another one, because the character set is not known.
fn readings<'a>(query: &Query<'a>) -> (Vec<Cow<'a, str>>, bool) {
    let charset = query.client_collation.map_or(Charset::Other, Charset::of_collation);
    let declared = charset.decode_statement(query.text);
    let utf8 = std::str::from_utf8(query.text).ok();
    if query.text.is_ascii() {
        // Character sets that differ from ASCII in its range are rare.
        return (
            if utf8 == Some(&declared) {
                vec![declared]
            } else {
                vec![declared, Cow::Borrowed(utf8.unwrap_or_default())]
            },
            true,
        );
    }
    let converted = to_latin1(&declared).and_then(|bytes| String::from_utf8(bytes).ok());
    let mut readings = vec![declared];
    for more in [utf8.map(Cow::Borrowed), converted.map(Cow::Owned)].into_iter().flatten() {
        if !readings.contains(&more) {
            readings.push(more);
        }
    }
    (readings, charset != Charset::Other)
}

/// The effect of a statement that has one of two effects.
fn either(one: Statement, other: Statement) -> Statement {
    match (one, other) {
        (one, other) if one == other => one,
        // Nothing, or this.
        (Statement::Harmless, effect) | (effect, Statement::Harmless) => effect,
        (Statement::Tables(mut tables), Statement::Tables(more)) => {
            tables.extend(more);
            Statement::Tables(tables)
        }
        (Statement::Created(mut tables), Statement::Created(more)) => {
            tables.extend(more);
            Statement::Created(tables)
        }
        (Statement::Filled(mut tables), Statement::Filled(more)) => {
            tables.extend(more);
            Statement::Filled(tables)
        }
        (Statement::Databases(mut databases), Statement::Databases(more)) => {
            databases.extend(more);
            Statement::Databases(databases)
        }
        (Statement::Created(mut tables), Statement::Tables(more))
        | (Statement::Tables(more), Statement::Created(mut tables)) => {
            tables.extend(more);
            Statement::Tables(tables)
        }
        (Statement::Rows(one), Statement::Rows(other)) => Statement::Rows(write::either(one, other)),
        _ => Statement::Anything,
    }
}

/// It reads tokens from the front and never goes back.
struct Parser<'a> {
    tokens: Tokens,
    database: &'a str,
}

/// The object of CREATE, ALTER or DROP.
enum Object {
    Table { temporary: bool, replaced: bool },
    Database,
    View,
    Harmless,
}

/// Objects without rows. An index does not change the rows of its table. Words before the object (DEFINER=.., UNIQUE, OR
/// REPLACE) are skipped.
const ROWLESS: [&str; 19] = [
    "INDEX",
    "REFERENCE",
    "USER",
    "ROLE",
    "FUNCTION",
    "PROCEDURE",
    "TRIGGER",
    "EVENT",
    "SERVER",
    "TABLESPACE",
    "UNDO",
    "LOGFILE",
    "RESOURCE",
    "INSTANCE",
    "LIBRARY",
    "COMPONENT",
    "PLUGIN",
    "MASKING",
    // Of MariaDB.
    "PACKAGE",
];

/// What follows a statement about the maintenance of tables.
const TABLE_WORDS: [&str; 4] = ["TABLE", "TABLES", "NO_WRITE_TO_BINLOG", "LOCAL"];

impl Parser<'_> {
    /// Returns `None` if the statement is not recognised.
    ///
    /// The verb decides, and for DDL the object.
    fn statement(&mut self) -> Option<Statement> {
        let word = loop {
            let Some(word) = self.tokens.next_word() else {
                // Only comments.
                return self.tokens.at_end().then_some(Statement::Harmless);
            };
            // MariaDB's `SET STATEMENT name = value, .. FOR` precedes a statement, also another one of its kind. A text may have
            // any number of them, so this is no recursion.
            if word != "SET" || !self.tokens.word("STATEMENT") {
                break word;
            }
            while !self.tokens.word("FOR") {
                self.tokens.next()?;
            }
        };
        match word.as_str() {
            // MariaDB's BEGIN NOT ATOMIC is a block of statements.
            "BEGIN" => (!self.tokens.word("NOT")).then_some(Statement::Begin),
            "START" => self.tokens.word("TRANSACTION").then_some(Statement::Begin),
            "COMMIT" => Some(Statement::Commit),
            "ROLLBACK" => Some(self.rollback()),
            "SAVEPOINT" | "RELEASE" => Some(Statement::Inside),
            "XA" => self.xa(),
            "CREATE" | "ALTER" | "DROP" => self.definition(&word),
            "TRUNCATE" => {
                self.tokens.word("TABLE");
                self.names()
            }
            "RENAME" => self.rename(),
            "REPAIR" => {
                let _ = self.tokens.word("NO_WRITE_TO_BINLOG") || self.tokens.word("LOCAL");
                (self.tokens.word("TABLE") || self.tokens.word("TABLES")).then_some(())?;
                self.names()
            }
            // MariaDB's ANALYZE executes the statement that follows.
            "ANALYZE" if !self.tokens.peek_word().is_some_and(|word| TABLE_WORDS.contains(&&*word)) => None,
            "GRANT" | "REVOKE" | "SET" | "FLUSH" | "ANALYZE" | "OPTIMIZE" | "CHECK" | "CHECKSUM" | "INSTALL"
            | "UNINSTALL" | "LOCK" | "UNLOCK" | "USE" | "CACHE" | "PURGE" | "RESET" | "KILL" | "SHOW" | "SHUTDOWN" => {
                Some(Statement::Harmless)
            }
            "LOAD" if self.tokens.word("INDEX") => Some(Statement::Harmless),
            "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "LOAD" | "CALL" | "WITH" | "DO" | "SELECT" => {
                Some(Statement::Rows(write::targets(&mut self.tokens, self.database, &word).unwrap_or_default()))
            }
            _ => None,
        }
    }

    /// ROLLBACK of a whole transaction is logged only if it could not undo all changes: those logged before it are valid.
    fn rollback(&mut self) -> Statement {
        if self.tokens.word("TO") || self.tokens.word("WORK") && self.tokens.word("TO") {
            Statement::RollbackTo
        } else {
            Statement::Rollback
        }
    }

    /// Classifies a statement that begins with XA.
    fn xa(&mut self) -> Option<Statement> {
        match self.tokens.next_word()?.as_str() {
            "START" | "BEGIN" => Some(Statement::Begin),
            "END" => Some(Statement::Inside),
            "COMMIT" => Some(Statement::XaCommit(self.xid()?)),
            "ROLLBACK" => Some(Statement::XaRollback(self.xid()?)),
            _ => None,
        }
    }

    /// Parses `X'6131',X'',1`.
    fn xid(&mut self) -> Option<Vec<u8>> {
        let global = self.tokens.hex()?;
        self.tokens.symbol(',').then_some(())?;
        let branch = self.tokens.hex()?;
        self.tokens.symbol(',').then_some(())?;
        let format = self.tokens.next_number()?;
        Some(crate::event::xid(&global, &branch, format))
    }

    /// Classifies CREATE, ALTER and DROP.
    fn definition(&mut self, verb: &str) -> Option<Statement> {
        match self.object()? {
            Object::Harmless => Some(Statement::Harmless),
            Object::Table { temporary: true, .. } => self.temporary(verb),
            Object::Database if verb == "DROP" => {
                self.if_exists();
                self.tokens.next_name().map(|name| Statement::Databases(vec![name]))
            }
            Object::Database => Some(Statement::Harmless),
            Object::View => {
                self.if_exists();
                self.names()
            }
            Object::Table { .. } if verb == "ALTER" => self.alter_table(),
            Object::Table { replaced, .. } if verb == "CREATE" => self.create_table(replaced),
            Object::Table { .. } => {
                self.if_exists();
                self.names()
            }
        }
    }

    /// CREATE, ALTER or DROP TEMPORARY TABLE.
    fn temporary(&mut self, verb: &str) -> Option<Statement> {
        self.if_exists();
        match verb {
            "CREATE" => Some(Statement::Temporary { table: self.table()?, filled: self.has_query()? }),
            "DROP" => match self.names()? {
                Statement::Tables(tables) => Some(Statement::NoTemporary(tables)),
                other => Some(other),
            },
            _ => Some(Statement::Harmless),
        }
    }

    /// CREATE TABLE changes no row, unless it replaces a table (MariaDB's OR REPLACE), or is logged with its query instead of
    /// the rows. `None` if the query may call a stored function.
    fn create_table(&mut self, replaced: bool) -> Option<Statement> {
        self.if_exists();
        let tables = vec![self.table()?];
        Some(match self.has_query()? {
            true => Statement::Filled(tables),
            false if replaced => Statement::Tables(tables),
            false => Statement::Created(tables),
        })
    }

    /// Takes the rest of CREATE TABLE, and returns whether it has a query. `None` if that may call a stored function.
    fn has_query(&mut self) -> Option<bool> {
        while let Some(token) = self.tokens.next() {
            let Token::Word(word) = token else { continue };
            let is_query = match word.as_str() {
                "SELECT" | "TABLE" => true,
                // Those of a partition are `VALUES LESS THAN` and `VALUES IN`.
                "VALUES" => !self.tokens.peek_word().is_some_and(|next| matches!(&*next, "LESS" | "IN")),
                _ => false,
            };
            if is_query {
                return write::calls_only_known(&mut self.tokens).then_some(true);
            }
        }
        Some(false)
    }

    /// Finds the keyword of the object, after optional words.
    fn object(&mut self) -> Option<Object> {
        let (mut temporary, mut replaced) = (false, false);
        // The longest optional part is DEFINER = `user`@`host`. The bound limits the cost of a malformed statement.
        for _ in 0..24 {
            let Some(word) = self.tokens.peek_word() else {
                self.tokens.next()?;
                continue;
            };
            self.tokens.next()?;
            match word.as_str() {
                "TEMPORARY" => temporary = true,
                "REPLACE" => replaced = true,
                // A sequence of MariaDB is a table of one row.
                "TABLE" | "TABLES" | "SEQUENCE" => return Some(Object::Table { temporary, replaced }),
                "DATABASE" | "SCHEMA" => return Some(Object::Database),
                "VIEW" => return Some(Object::View),
                word if ROWLESS.contains(&word) => return Some(Object::Harmless),
                _ => {}
            }
        }
        None
    }

    /// ALTER TABLE changes its table, and also a table that it renames to, exchanges a partition with or converts.
    ///
    /// `RENAME TO u`, `EXCHANGE PARTITION p WITH TABLE u`, and MariaDB's `CONVERT TABLE u TO PARTITION p` and `CONVERT
    /// PARTITION p TO TABLE u` change `u` too.
    fn alter_table(&mut self) -> Option<Statement> {
        self.if_exists();
        let mut tables = vec![self.table()?];
        self.wait();
        let mut depth = 0_usize;
        while let Some(token) = self.tokens.next() {
            match token {
                Token::Symbol('(') => depth += 1,
                Token::Symbol(')') => depth = depth.saturating_sub(1),
                Token::Word(word) if depth == 0 && word == "RENAME" => {
                    if ["COLUMN", "INDEX", "KEY"].iter().any(|what| self.tokens.word(what)) {
                        continue;
                    }
                    let _ = self.tokens.word("TO") || self.tokens.word("AS") || self.tokens.symbol('=');
                    tables.push(self.table()?);
                }
                Token::Word(word) if depth == 0 && word == "TABLE" => tables.push(self.table()?),
                _ => {}
            }
        }
        Some(Statement::Tables(tables))
    }

    /// RENAME TABLE changes all tables that it names.
    fn rename(&mut self) -> Option<Statement> {
        if self.tokens.word("USER") {
            return Some(Statement::Harmless);
        }
        if !self.tokens.word("TABLE") && !self.tokens.word("TABLES") {
            return None;
        }
        let mut tables = Vec::new();
        self.if_exists();
        loop {
            tables.push(self.table()?);
            self.wait();
            self.tokens.word("TO").then_some(())?;
            tables.push(self.table()?);
            if !self.tokens.symbol(',') {
                break;
            }
        }
        self.tokens.at_end().then_some(Statement::Tables(tables))
    }

    /// Skips MariaDB's `WAIT 5` or `NOWAIT`.
    fn wait(&mut self) {
        if self.tokens.word("WAIT") {
            self.tokens.next();
        }
        self.tokens.word("NOWAIT");
    }

    /// Skips `IF EXISTS` or `IF NOT EXISTS`.
    fn if_exists(&mut self) {
        if self.tokens.word("IF") {
            self.tokens.word("NOT");
            self.tokens.word("EXISTS");
        }
    }

    /// Parses a comma-separated list of table names; ignores anything after it.
    fn names(&mut self) -> Option<Statement> {
        let mut tables = vec![self.table()?];
        while self.tokens.symbol(',') {
            tables.push(self.table()?);
        }
        Some(Statement::Tables(tables))
    }

    /// Parses the name of a table, with the current database if it has none.
    fn table(&mut self) -> Option<TableName> {
        self.tokens.next_table(self.database)
    }
}

#[cfg(test)]
mod tests;
