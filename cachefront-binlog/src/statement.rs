//! Statements of the log, by what they may have done to cached rows. What is not understood may have done anything.

mod lexer;

use cachefront_core::event::TableName;

use crate::event::Query;
use lexer::{Token, Tokens};

/// What a statement of the log means to a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    /// A transaction begins (BEGIN, XA START).
    Begin,
    /// It ends.
    Commit,
    /// A savepoint, XA END: nothing of the log depends on it.
    Inside,
    /// A prepared XA transaction becomes visible, or is given up.
    XaCommit(Vec<u8>),
    XaRollback(Vec<u8>),
    /// Nothing that a row is made of.
    Harmless,
    /// A table is there now. It is empty, or was there before and is unchanged (IF NOT EXISTS); its rows, if it is made
    /// from a query, are in the log. Only its columns may be others than those of an older table of that name.
    Created(TableName),
    /// All rows of these tables may have changed.
    Tables(Vec<TableName>),
    /// All rows of this database's tables may have changed.
    Database(String),
    /// Any row may have changed.
    Anything,
    /// A change of rows that was logged as a statement: which rows is not known.
    Rows,
}

/// Reads a statement.
pub(crate) fn classify(query: &Query<'_>) -> Statement {
    let text = String::from_utf8_lossy(query.text);
    let database = String::from_utf8_lossy(query.database);
    // The two that come with every transaction, without a look at their parts.
    match text.as_ref() {
        "BEGIN" => return Statement::Begin,
        "COMMIT" => return Statement::Commit,
        _ => {}
    }
    let Some(tokens) = Tokens::read(&text) else { return Statement::Anything };
    let mut parser = Parser { tokens, database: &database };
    parser.statement().unwrap_or(Statement::Anything)
}

struct Parser<'a> {
    tokens: Tokens,
    database: &'a str,
}

/// What an object keyword of CREATE, ALTER and DROP stands for.
enum Object {
    Table { temporary: bool },
    Database,
    View,
    Harmless,
}

/// Objects that hold no rows; an index does not change the rows it is on. Words before them (DEFINER=.., UNIQUE,
/// OR REPLACE) are passed over.
const ROWLESS: [&str; 18] = [
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
];

impl Parser<'_> {
    /// None if it is not understood.
    fn statement(&mut self) -> Option<Statement> {
        let Some(word) = self.tokens.next_word() else {
            // Nothing but comments.
            return self.tokens.at_end().then_some(Statement::Harmless);
        };
        match word.as_str() {
            "BEGIN" => Some(Statement::Begin),
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
            "REPAIR" | "IMPORT" => None,
            "GRANT" | "REVOKE" | "SET" | "FLUSH" | "ANALYZE" | "OPTIMIZE" | "CHECK" | "CHECKSUM" | "INSTALL"
            | "UNINSTALL" | "LOCK" | "UNLOCK" | "USE" => Some(Statement::Harmless),
            "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "LOAD" | "CALL" | "WITH" | "DO" | "SELECT" => {
                Some(Statement::Rows)
            }
            _ => None,
        }
    }

    /// A whole rollback is logged only if it could not undo everything: what was logged before it counts.
    fn rollback(&mut self) -> Statement {
        if self.tokens.word("TO") || self.tokens.word("WORK") && self.tokens.word("TO") {
            Statement::Inside
        } else {
            Statement::Commit
        }
    }

    fn xa(&mut self) -> Option<Statement> {
        match self.tokens.next_word()?.as_str() {
            "START" | "BEGIN" => Some(Statement::Begin),
            "END" => Some(Statement::Inside),
            "COMMIT" => Some(Statement::XaCommit(self.xid()?)),
            "ROLLBACK" => Some(Statement::XaRollback(self.xid()?)),
            _ => None,
        }
    }

    /// `X'6131',X'',1`
    fn xid(&mut self) -> Option<Vec<u8>> {
        let global = self.tokens.hex()?;
        self.tokens.symbol(',').then_some(())?;
        let branch = self.tokens.hex()?;
        self.tokens.symbol(',').then_some(())?;
        let format = self.tokens.next_number()?;
        Some(crate::event::xid(&global, &branch, format))
    }

    fn definition(&mut self, verb: &str) -> Option<Statement> {
        match self.object()? {
            Object::Harmless | Object::Table { temporary: true } => Some(Statement::Harmless),
            Object::Database if verb == "DROP" => {
                self.if_exists();
                self.tokens.next_name().map(Statement::Database)
            }
            Object::Database => Some(Statement::Harmless),
            Object::View => {
                self.if_exists();
                self.names()
            }
            Object::Table { .. } if verb == "ALTER" => self.alter_table(),
            Object::Table { .. } if verb == "CREATE" => {
                self.if_exists();
                self.table().map(Statement::Created)
            }
            Object::Table { .. } => {
                self.if_exists();
                self.names()
            }
        }
    }

    /// Finds the object's keyword behind what may stand before it.
    fn object(&mut self) -> Option<Object> {
        let mut temporary = false;
        // DEFINER = `user`@`host` is the longest that may stand there; a bound keeps nonsense from running far.
        for _ in 0..24 {
            let Some(word) = self.tokens.peek_word() else {
                self.tokens.next()?;
                continue;
            };
            self.tokens.next()?;
            match word.as_str() {
                "TEMPORARY" => temporary = true,
                "TABLE" | "TABLES" => return Some(Object::Table { temporary }),
                "DATABASE" | "SCHEMA" => return Some(Object::Database),
                "VIEW" => return Some(Object::View),
                word if ROWLESS.contains(&word) => return Some(Object::Harmless),
                _ => {}
            }
        }
        None
    }

    fn alter_table(&mut self) -> Option<Statement> {
        self.if_exists();
        let mut tables = vec![self.table()?];
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
                Token::Word(word) if depth == 0 && word == "WITH" && self.tokens.word("TABLE") => {
                    tables.push(self.table()?);
                }
                _ => {}
            }
        }
        Some(Statement::Tables(tables))
    }

    fn rename(&mut self) -> Option<Statement> {
        if self.tokens.word("USER") {
            return Some(Statement::Harmless);
        }
        if !self.tokens.word("TABLE") && !self.tokens.word("TABLES") {
            return None;
        }
        let mut tables = Vec::new();
        loop {
            tables.push(self.table()?);
            self.tokens.word("TO").then_some(())?;
            tables.push(self.table()?);
            if !self.tokens.symbol(',') {
                break;
            }
        }
        self.tokens.at_end().then_some(Statement::Tables(tables))
    }

    /// `IF EXISTS`, `IF NOT EXISTS`.
    fn if_exists(&mut self) {
        if self.tokens.word("IF") {
            self.tokens.word("NOT");
            self.tokens.word("EXISTS");
        }
    }

    /// Table names with commas between them; whatever follows the last is of no matter.
    fn names(&mut self) -> Option<Statement> {
        let mut tables = vec![self.table()?];
        while self.tokens.symbol(',') {
            tables.push(self.table()?);
        }
        Some(Statement::Tables(tables))
    }

    fn table(&mut self) -> Option<TableName> {
        let first = self.tokens.next_name()?;
        if self.tokens.symbol('.') {
            return Some(TableName::new(&first, &self.tokens.next_name()?));
        }
        // Without a database, nobody can tell which table is meant.
        (!self.database.is_empty()).then(|| TableName::new(self.database, &first))
    }
}

#[cfg(test)]
mod tests;
