//! Changes of rows that are logged as statements: which tables they name as their targets, and whether they may change others.
//!
//! A statement changes its targets, and may change other tables in ways that the log does not show:
//!
//! - by a stored function that it calls. A call is recognised by its parenthesis: only functions that the server itself has,
//!   and that no other can hide, are taken for harmless;
//! - by triggers and foreign keys of a target, and by a target that is a view: see [`Effects`](crate::effects::Effects).
//!
//! Where the targets are not parsed (joins, WITH), every name of the statement counts as one, also those of columns and aliases.

use cachefront_core::event::TableName;

use super::lexer::{Token, Tokens};

/// Words that may be before a parenthesis and are no function. They are reserved: a function of this name must be quoted.
const KEYWORDS: &[&str] = &[
    "ALL",
    "AND",
    "AS",
    "BETWEEN",
    "BINARY",
    "BY",
    "CASE",
    "CROSS",
    "DECIMAL",
    "DISTINCT",
    "DIV",
    "ELSE",
    "EXISTS",
    "FORCE",
    "FROM",
    "GROUP",
    "HAVING",
    "IGNORE",
    "IN",
    "INDEX",
    "INNER",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "KEY",
    "LIKE",
    "LIMIT",
    "LINES",
    "MOD",
    "NOT",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "PARTITION",
    "REGEXP",
    "RLIKE",
    "SELECT",
    "SET",
    "STRAIGHT_JOIN",
    "THEN",
    "UNION",
    "UPDATE",
    "USE",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "XOR",
];

/// Functions of every supported server that change no row. Without a qualifier and with the parenthesis right behind it, the
/// name means the server's function even if there is a stored one. A function that only some servers have may be a stored one
/// on the others, so it is not in the list.
#[rustfmt::skip]
const FUNCTIONS: &[&str] = &[
    "ABS", "ACOS", "ADDDATE", "ADDTIME", "AES_DECRYPT", "AES_ENCRYPT", "ASCII", "ASIN", "ATAN", "ATAN2", "AVG",
    "BENCHMARK", "BIN", "BIT_AND", "BIT_COUNT", "BIT_LENGTH", "BIT_OR", "BIT_XOR", "CAST", "CEIL", "CEILING", "CHAR",
    "CHARACTER_LENGTH", "CHARSET", "CHAR_LENGTH", "COALESCE", "COERCIBILITY", "COLLATION", "COMPRESS", "CONCAT",
    "CONCAT_WS", "CONNECTION_ID", "CONV", "CONVERT", "CONVERT_TZ", "COS", "COT", "COUNT", "CRC32", "CURDATE",
    "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "CURRENT_USER", "CURTIME", "DATABASE", "DATE", "DATEDIFF",
    "DATE_ADD", "DATE_FORMAT", "DATE_SUB", "DAY", "DAYNAME", "DAYOFMONTH", "DAYOFWEEK", "DAYOFYEAR", "DEGREES", "ELT",
    "EXP", "EXPORT_SET", "EXTRACT", "EXTRACTVALUE", "FIELD", "FIND_IN_SET", "FLOOR", "FORMAT", "FOUND_ROWS",
    "FROM_BASE64", "FROM_DAYS", "FROM_UNIXTIME", "GET_FORMAT", "GET_LOCK", "GREATEST", "GROUP_CONCAT", "HEX", "HOUR",
    "IF", "IFNULL", "INET6_ATON", "INET6_NTOA", "INET_ATON", "INET_NTOA", "INSTR", "ISNULL", "IS_FREE_LOCK",
    "IS_USED_LOCK", "JSON_ARRAY", "JSON_ARRAYAGG", "JSON_ARRAY_APPEND", "JSON_ARRAY_INSERT", "JSON_CONTAINS",
    "JSON_CONTAINS_PATH", "JSON_DEPTH", "JSON_EXTRACT", "JSON_INSERT", "JSON_KEYS", "JSON_LENGTH", "JSON_MERGE_PATCH",
    "JSON_MERGE_PRESERVE", "JSON_OBJECT", "JSON_OBJECTAGG", "JSON_QUOTE", "JSON_REMOVE", "JSON_REPLACE", "JSON_SEARCH",
    "JSON_SET", "JSON_TYPE", "JSON_UNQUOTE", "JSON_VALID", "LAST_DAY", "LAST_INSERT_ID", "LCASE", "LEAST", "LEFT",
    "LENGTH", "LN", "LOAD_FILE", "LOCALTIME", "LOCALTIMESTAMP", "LOCATE", "LOG", "LOG10", "LOG2", "LOWER", "LPAD",
    "LTRIM", "MAKEDATE", "MAKETIME", "MAKE_SET", "MAX", "MD5", "MICROSECOND", "MID", "MIN", "MINUTE", "MONTH",
    "MONTHNAME", "NAME_CONST", "NOW", "NULLIF", "OCT", "OCTET_LENGTH", "ORD", "PERIOD_ADD", "PERIOD_DIFF", "PI",
    "POSITION", "POW", "POWER", "QUARTER", "QUOTE", "RADIANS", "RAND", "RELEASE_LOCK", "REPEAT", "REPLACE", "REVERSE",
    "RIGHT", "ROUND", "ROW_COUNT", "RPAD", "RTRIM", "SCHEMA", "SECOND", "SEC_TO_TIME", "SESSION_USER", "SHA", "SHA1",
    "SHA2", "SIGN", "SIN", "SLEEP", "SOUNDEX", "SPACE", "SQRT", "STD", "STDDEV", "STDDEV_POP", "STDDEV_SAMP", "STRCMP",
    "STR_TO_DATE", "SUBDATE", "SUBSTR", "SUBSTRING", "SUBSTRING_INDEX", "SUBTIME", "SUM", "SYSDATE", "SYSTEM_USER",
    "TAN", "TIME", "TIMEDIFF", "TIMESTAMP", "TIMESTAMPADD", "TIMESTAMPDIFF", "TIME_FORMAT", "TIME_TO_SEC", "TO_BASE64",
    "TO_DAYS", "TO_SECONDS", "TRIM", "UCASE", "UNCOMPRESS", "UNHEX", "UNIX_TIMESTAMP", "UPDATEXML", "UPPER", "USER",
    "UTC_DATE", "UTC_TIME", "UTC_TIMESTAMP", "UUID", "UUID_SHORT", "VARIANCE", "VAR_POP", "VAR_SAMP", "VERSION", "WEEK",
    "WEEKDAY", "WEEKOFYEAR", "WEIGHT_STRING", "YEAR", "YEARWEEK",
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
    let one = match verb {
        "INSERT" | "REPLACE" => Some(insert(tokens, database)?),
        "LOAD" => Some(load(tokens, database)?),
        "UPDATE" => update(&mut tokens.clone(), database),
        "DELETE" => delete(&mut tokens.clone(), database),
        "WITH" => None,
        _ => return None,
    };
    let tables = match one {
        Some(tables) => tables,
        None => tokens.clone().names(database),
    };
    (!tables.is_empty() && calls_only_known(tokens)).then_some(tables)
}

/// `INSERT [LOW_PRIORITY | DELAYED | HIGH_PRIORITY] [IGNORE] [INTO] t`; the same for REPLACE.
fn insert(tokens: &mut Tokens, database: &str) -> Option<Vec<TableName>> {
    skip(tokens, &["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO"]);
    let table = tokens.next_table(database)?;
    Some(vec![table])
}

/// `UPDATE [LOW_PRIORITY] [IGNORE] t [[AS] a], ..  SET`.
///
/// Returns `None` for a join or a subquery in place of a table.
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
pub(super) fn calls_only_known(tokens: &mut Tokens) -> bool {
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
