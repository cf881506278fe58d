//! Changes of rows that are logged as statements: which tables they name as their targets, and whether they may change others.
//!
//! A statement changes its targets, and may change other tables in ways that the log does not show:
//!
//! - by a stored function that it calls. A call is recognised by its parenthesis: only functions that the server itself has,
//!   and that no other can hide, are taken for harmless;
//! - by triggers and foreign keys of a target, and by a target that is a view: see [`Effects`](crate::effects::Effects).

use cachefront_core::event::TableName;

use super::lexer::{Token, Tokens};

/// Words that may be before a parenthesis and are no function. They are reserved: a function of this name must be quoted.
const KEYWORDS: &[&str] = &[
    "ALL", "AND", "AS", "BETWEEN", "BY", "CASE", "DISTINCT", "DIV", "ELSE", "EXISTS", "FROM", "GROUP", "HAVING", "IN",
    "INDEX", "INTERVAL", "INTO", "IS", "JOIN", "KEY", "LIKE", "LIMIT", "MOD", "NOT", "ON", "OR", "ORDER", "RLIKE",
    "SELECT", "SET", "THEN", "UNION", "UPDATE", "USING", "VALUES", "WHEN", "WHERE", "XOR", "REGEXP",
];

/// Functions of the server that change no row. Without a qualifier and with the parenthesis right behind it, the name means
/// the server's function even if there is a stored one.
#[rustfmt::skip]
const FUNCTIONS: &[&str] = &[
    "ABS", "ADDDATE", "ADDTIME", "ASCII", "AVG", "BIN", "BIT_AND", "BIT_COUNT", "BIT_LENGTH", "BIT_OR", "BIT_XOR",
    "CAST", "CEIL", "CEILING", "CHAR", "CHAR_LENGTH", "COALESCE", "CONCAT", "CONCAT_WS", "CONNECTION_ID", "CONV",
    "CONVERT", "CONVERT_TZ", "COUNT", "CRC32", "CURDATE", "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP",
    "CURRENT_USER", "CURTIME", "DATABASE", "DATE", "DATEDIFF", "DATE_ADD", "DATE_FORMAT", "DATE_SUB", "DAY",
    "DAYOFMONTH", "DAYOFWEEK", "DAYOFYEAR", "ELT", "EXTRACT", "FIELD", "FIND_IN_SET", "FLOOR", "FORMAT", "FROM_DAYS",
    "FROM_UNIXTIME", "GREATEST", "GROUP_CONCAT", "HEX", "HOUR", "IF", "IFNULL", "INET_ATON", "INET_NTOA", "INSTR",
    "ISNULL", "JSON_ARRAY", "JSON_EXTRACT", "JSON_OBJECT", "JSON_SET", "JSON_UNQUOTE", "LAST_INSERT_ID", "LEAST",
    "LEFT", "LENGTH", "LOCALTIME", "LOCALTIMESTAMP", "LOCATE", "LOG", "LOWER", "LPAD", "LTRIM", "MAX", "MD5",
    "MICROSECOND", "MID", "MIN", "MINUTE", "MONTH", "NOW", "NULLIF", "POSITION", "POW", "POWER", "RAND", "REPEAT",
    "REPLACE", "REVERSE", "RIGHT", "ROUND", "RPAD", "RTRIM", "SECOND", "SHA", "SHA1", "SHA2", "SIGN", "SPACE", "SQRT",
    "STR_TO_DATE", "SUBDATE", "SUBSTR", "SUBSTRING", "SUBSTRING_INDEX", "SUM", "SYSDATE", "TIMESTAMPDIFF", "TIMESTAMP",
    "TO_DAYS", "TRIM", "UNHEX", "UNIX_TIMESTAMP", "UPPER", "USER", "UTC_TIMESTAMP", "UUID", "WEEK", "YEAR",
];

/// The tables that a statement names as its targets, in one of two readings: those of both. None means any.
pub(super) fn either(one: Vec<TableName>, other: Vec<TableName>) -> Vec<TableName> {
    if one.is_empty() || other.is_empty() {
        return Vec::new();
    }
    one.into_iter().chain(other).collect()
}

/// Returns the targets of a statement that begins with `verb`. `None` if they are not recognised, or the statement may call
/// a stored function.
pub(super) fn targets(tokens: &mut Tokens, database: &str, verb: &str) -> Option<Vec<TableName>> {
    let tables = match verb {
        "INSERT" | "REPLACE" => insert(tokens, database)?,
        "UPDATE" => update(tokens, database)?,
        "DELETE" => delete(tokens, database)?,
        "LOAD" => load(tokens, database)?,
        _ => return None,
    };
    calls_only_known(tokens).then_some(tables)
}

/// `INSERT [LOW_PRIORITY | DELAYED | HIGH_PRIORITY] [IGNORE] [INTO] t`; the same for REPLACE.
fn insert(tokens: &mut Tokens, database: &str) -> Option<Vec<TableName>> {
    skip(tokens, &["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO"]);
    let table = tokens.next_table(database)?;
    Some(vec![table])
}

/// `UPDATE [LOW_PRIORITY] [IGNORE] t [[AS] a], ..  SET`. Joins are not parsed: an alias could be mistaken for a table.
///
/// Returns `None` for a join or a subquery in place of a table: the statement then counts as a
/// change of any table.
fn update(tokens: &mut Tokens, database: &str) -> Option<Vec<TableName>> {
    skip(tokens, &["LOW_PRIORITY", "IGNORE"]);
    let mut tables = Vec::new();
    loop {
        tables.push(tokens.next_table(database)?);
        if tokens.word("SET") {
            return Some(tables);
        }
        if !tokens.symbol(',') {
            tokens.word("AS");
            tokens.next_name()?;
            match (tokens.word("SET"), tokens.symbol(',')) {
                (true, _) => return Some(tables),
                (false, true) => {}
                (false, false) => return None,
            }
        }
    }
}

/// `DELETE [LOW_PRIORITY] [QUICK] [IGNORE] FROM t` of one table.
///
/// Returns `None` for the forms of several tables, `DELETE a, b FROM ..` and `DELETE FROM a USING
/// ..`.
fn delete(tokens: &mut Tokens, database: &str) -> Option<Vec<TableName>> {
    skip(tokens, &["LOW_PRIORITY", "QUICK", "IGNORE"]);
    tokens.word("FROM").then_some(())?;
    let table = tokens.next_table(database)?;
    let ends = tokens.at_end()
        || tokens.peek_word().is_some_and(|word| ["WHERE", "ORDER", "LIMIT", "RETURNING"].contains(&&*word));
    ends.then(|| vec![table])
}

/// `LOAD DATA .. INTO TABLE t`.
///
/// The name of the file may contain any word, but it is a text and not a word for the lexer.
fn load(tokens: &mut Tokens, database: &str) -> Option<Vec<TableName>> {
    while !(tokens.word("INTO") && tokens.word("TABLE")) {
        tokens.next()?;
    }
    let table = tokens.next_table(database)?;
    Some(vec![table])
}

/// Skips these words, in any order and number.
fn skip(tokens: &mut Tokens, words: &[&str]) {
    while words.iter().any(|word| tokens.word(word)) {}
}

/// Returns true if the rest of a statement calls no function but those of the server.
///
/// A parenthesis after a name that is neither a keyword nor a known function may be a call of a
/// stored function, which may change any table.
fn calls_only_known(tokens: &mut Tokens) -> bool {
    // The list of columns after the table.
    tokens.symbol('(');
    let mut last: Option<(Token, bool)> = None;
    let mut qualified = false;
    while let Some((token, called)) = tokens.next_called() {
        if token == Token::Symbol('(') {
            match &last {
                Some((Token::Word(word), _)) if !qualified && KEYWORDS.contains(&&**word) => {}
                Some((Token::Word(word), true)) if !qualified && FUNCTIONS.contains(&&**word) => {}
                Some((Token::Word(_) | Token::Name(_), _)) => return false,
                _ => {}
            }
        }
        if !matches!(token, Token::Symbol(_)) {
            qualified = matches!(last, Some((Token::Symbol('.'), _)));
        }
        last = Some((token, called));
    }
    true
}
