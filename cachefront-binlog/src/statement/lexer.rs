//! Splits a statement into words, names and symbols. Comments are skipped, except for those that MySQL executes
//! (<https://dev.mysql.com/doc/refman/8.4/en/comments.html>). The parent module says why the lexer is the crate's own.
//!
//! | text | read as |
//! |---|---|
//! | `/* .. */`, `# ..`, `-- ..` | skipped |
//! | `/*! .. */`, `/*!50100 .. */` | tokens: every server executes them |
//! | `/*!80000 .. */`, `/*M! .. */`, `/*M!100100 .. */` | tokens in one reading, skipped in the other |
//! | `'..'` | text |
//! | `".."` | text, or a name with `ANSI_QUOTES` |
//! | a name in backticks | a name |
//! | `$$ .. $$`, `$tag$ .. $tag$` | text in one reading, words in the other: servers before MySQL 9.0 have no such quotes |
//!
//! Bits of `sql_mode` as they are logged: 4 is `ANSI_QUOTES`, 2^20 is `NO_BACKSLASH_ESCAPES`. See
//! <https://dev.mysql.com/doc/refman/8.4/en/sql-mode.html>.

use std::vec::IntoIter;

use cachefront_core::event::TableName;

/// Operators and punctuation are single characters: no decision depends on longer ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// An unquoted word in upper case: a keyword or a name.
    Word(String),
    /// A name in quotes. [`Tokens::next_name`] also returns an unquoted word, in its own case.
    Name(String),
    Text(String),
    Number(String),
    Symbol(char),
}

/// What decides where a token ends: two settings of `sql_mode`, and the server's version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Quoting {
    /// `ANSI_QUOTES`: double quotes are around names, not around text.
    pub(super) ansi: bool,
    /// `NO_BACKSLASH_ESCAPES`: a backslash in a text is an ordinary character.
    pub(super) plain_backslash: bool,
    /// Comments that only some servers execute are skipped: `/*!90000 .. */`, `/*M! .. */`.
    pub(super) skips_conditional: bool,
    /// `$$ .. $$` is a text.
    pub(super) dollars: bool,
}

impl Quoting {
    /// The settings of a session.
    pub(super) fn of_mode(sql_mode: u64) -> Self {
        Self { ansi: sql_mode & 4 != 0, plain_backslash: sql_mode & 1 << 20 != 0, ..Self::default() }
    }

    /// The same for each server that may read a text with conditional comments and with dollar quotes.
    pub(super) fn variants(self, conditional: bool, dollars: bool) -> impl Iterator<Item = Self> {
        let each = [(false, false), (true, false), (false, true), (true, true)].into_iter();
        let each = each.filter(move |&(skips, quotes)| (conditional || !skips) && (dollars || !quotes));
        each.map(move |(skips_conditional, dollars)| Self { skips_conditional, dollars, ..self })
    }

    /// All settings, for a session whose mode is not known.
    pub(super) const ALL: [Self; 4] = [
        Self { ansi: false, plain_backslash: false, skips_conditional: false, dollars: false },
        Self { ansi: false, plain_backslash: true, skips_conditional: false, dollars: false },
        Self { ansi: true, plain_backslash: false, skips_conditional: false, dollars: false },
        Self { ansi: true, plain_backslash: true, skips_conditional: false, dollars: false },
    ];
}

/// Why a text cannot be split into tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// A quote or a comment does not end, so the server did not read the text in this way.
    Unclosed,
    /// There are too many tokens, or a character is a space in some character sets and a part of a name in others.
    Unsure,
}

/// A token, the text of a word as it was written, and whether an opening parenthesis follows without a space.
#[derive(Clone, Debug)]
struct Lexeme {
    token: Token,
    written: String,
    calls: bool,
}

/// The tokens of a statement, read from the front.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    rest: std::iter::Peekable<IntoIter<Lexeme>>,
}

/// Maximum number of tokens; a longer statement is not recognised.
const TOKENS_MAX: usize = 100_000;

impl Tokens {
    /// Splits a statement.
    ///
    /// # Errors
    /// The reason why it cannot be split.
    pub(super) fn read(text: &str, quoting: Quoting) -> Result<Self, Unread> {
        let mut tokens = Vec::new();
        let mut rest = text.trim_start_matches(is_space);
        while !rest.is_empty() {
            if tokens.len() >= TOKENS_MAX || rest.starts_with('\u{a0}') {
                return Err(Unread::Unsure);
            }
            rest = one(rest, quoting, &mut tokens).ok_or(Unread::Unclosed)?.trim_start_matches(is_space);
        }
        while matches!(tokens.last(), Some(Lexeme { token: Token::Symbol(';'), .. })) {
            tokens.pop();
        }
        Ok(Self { rest: tokens.into_iter().peekable() })
    }

    /// Takes the next token.
    pub(super) fn next(&mut self) -> Option<Token> {
        self.rest.next().map(|lexeme| lexeme.token)
    }

    /// Takes the next token, and returns with it whether an opening parenthesis follows without a space.
    pub(super) fn next_called(&mut self) -> Option<(Token, bool)> {
        self.rest.next().map(|lexeme| (lexeme.token, lexeme.calls))
    }

    /// Returns true if no token is left.
    pub(super) fn at_end(&mut self) -> bool {
        self.rest.peek().is_none()
    }

    /// Returns the next token if it is a word, and leaves it.
    pub(super) fn peek_word(&mut self) -> Option<String> {
        match self.rest.peek() {
            Some(Lexeme { token: Token::Word(word), .. }) => Some(word.clone()),
            _ => None,
        }
    }

    /// Takes a word if one is next.
    pub(super) fn next_word(&mut self) -> Option<String> {
        let word = self.peek_word()?;
        self.rest.next();
        Some(word)
    }

    /// Takes this word if it is next.
    pub(super) fn word(&mut self, expected: &str) -> bool {
        self.rest.next_if(|next| matches!(&next.token, Token::Word(word) if word == expected)).is_some()
    }

    /// Takes this symbol if it is next.
    pub(super) fn symbol(&mut self, expected: char) -> bool {
        self.rest.next_if(|next| next.token == Token::Symbol(expected)).is_some()
    }

    /// Takes a name, quoted or unquoted.
    pub(super) fn next_name(&mut self) -> Option<String> {
        match self.rest.next()? {
            Lexeme { token: Token::Name(name), .. } => Some(name),
            Lexeme { token: Token::Word(_) | Token::Number(_), written, .. } => Some(written),
            _ => None,
        }
    }

    /// Takes the name of a table, with the current database if it has none.
    pub(super) fn next_table(&mut self, database: &str) -> Option<TableName> {
        let first = self.next_name()?;
        if self.symbol('.') {
            return Some(TableName::new(&first, &self.next_name()?));
        }
        // Without a current database the table is ambiguous.
        (!database.is_empty()).then(|| TableName::new(database, &first))
    }

    /// Takes all that is left, and returns every table that a name in it may mean: alone in the current database, and each
    /// two that a dot connects.
    pub(super) fn names(mut self, database: &str) -> Vec<TableName> {
        let mut tables = Vec::new();
        let mut before: Option<String> = None;
        while let Some(next) = self.rest.peek() {
            if matches!(next.token, Token::Text(_) | Token::Symbol(_)) {
                let is_dot = next.token == Token::Symbol('.');
                self.rest.next();
                before = before.filter(|_| is_dot);
                continue;
            }
            let Some(name) = self.next_name() else { break };
            match before {
                Some(qualifier) => tables.push(TableName::new(&qualifier, &name)),
                None if !database.is_empty() => tables.push(TableName::new(database, &name)),
                None => {}
            }
            before = self.rest.peek().is_some_and(|next| next.token == Token::Symbol('.')).then_some(name);
        }
        tables
    }

    /// Takes a token, and returns its value if it is a number of at most 32 bits.
    pub(super) fn next_number(&mut self) -> Option<u32> {
        match self.next()? {
            Token::Number(digits) => digits.parse().ok(),
            _ => None,
        }
    }

    /// Takes `X'6131'`.
    pub(super) fn hex(&mut self) -> Option<Vec<u8>> {
        if !self.word("X") {
            return None;
        }
        let Some(Token::Text(digits)) = self.next() else { return None };
        let digits: Vec<u8> = digits.chars().map(|digit| digit.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
        let (pairs, odd) = digits.as_chunks::<2>();
        odd.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
    }
}

/// Reads one token or comment, and returns the rest of the text. `None` if a quote or a comment does not end.
fn one<'a>(text: &'a str, quoting: Quoting, tokens: &mut Vec<Lexeme>) -> Option<&'a str> {
    if let Some(comment) = text.strip_prefix("/*") {
        return self::comment(comment, quoting);
    }
    if let Some(after) = text.strip_prefix("*/") {
        return Some(after);
    }
    let line_comment = text.starts_with('#')
        || text
            .strip_prefix("--")
            .is_some_and(|after| after.is_empty() || after.starts_with(|c: char| is_space(c) || c.is_control()));
    if line_comment {
        return Some(text.split_once('\n').map_or("", |(_, after)| after));
    }
    let first = text.chars().next()?;
    match first {
        '`' => quoted(text, '`', false).map(|(name, after)| (Token::Name(name), after)),
        '"' if quoting.ansi => quoted(text, '"', false).map(|(name, after)| (Token::Name(name), after)),
        '"' | '\'' => quoted(text, first, !quoting.plain_backslash).map(|(text, after)| (Token::Text(text), after)),
        '$' if quoting.dollars && dollar_quote(text).is_some() => {
            let quote = dollar_quote(text)?;
            let (inner, after) = text.strip_prefix(quote)?.split_once(quote)?;
            Some((Token::Text(inner.to_owned()), after))
        }
        first if is_word(first) => {
            let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
            let (word, after) = text.split_at_checked(end)?;
            let token = match word.bytes().all(|byte| byte.is_ascii_digit()) {
                true => Token::Number(word.to_owned()),
                false => Token::Word(word.to_ascii_uppercase()),
            };
            tokens.push(Lexeme { token, written: word.to_owned(), calls: after.starts_with('(') });
            return Some(after);
        }
        symbol => text.get(symbol.len_utf8()..).map(|after| (Token::Symbol(symbol), after)),
    }
    .map(|(token, after)| {
        tokens.push(Lexeme { token, written: String::new(), calls: false });
        after
    })
}

/// The oldest version whose comments (`/*!50700 .. */`) some server does not execute: MariaDB executes none of MySQL 5.7 and
/// later, and no server those of a version after its own.
const CONDITIONAL_FROM: u32 = 50_700;

/// Returns the contents of a comment that is executed, and whether only some servers do. `None` for other comments. `inner`
/// follows the opening `/*`.
fn executed(inner: &str) -> Option<(bool, &str)> {
    let is_digit = |c: char| c.is_ascii_digit();
    if let Some(inner) = inner.strip_prefix("M!") {
        return Some((true, inner.trim_start_matches(is_digit)));
    }
    let numbered = inner.strip_prefix('!')?;
    let contents = numbered.trim_start_matches(is_digit);
    let digits = numbered.get(..numbered.len() - contents.len()).unwrap_or_default();
    let is_old =
        digits.is_empty() || digits.len() == 5 && digits.parse().is_ok_and(|version: u32| version < CONDITIONAL_FROM);
    Some((!is_old, contents))
}

/// Returns true if a text may have a comment that only some servers execute.
pub(super) fn has_conditional(text: &str) -> bool {
    let mut comments = text.match_indices("/*").filter_map(|(at, _)| executed(text.get(at + 2..)?));
    comments.any(|(conditional, _)| conditional)
}

/// The dollar quote that a text begins with: `$$` or `$tag$`.
fn dollar_quote(text: &str) -> Option<&str> {
    let tag = text.strip_prefix('$')?.find(|c| c == '$' || !is_word(c))?;
    text.get(..tag + 2).filter(|quote| quote.ends_with('$'))
}

/// Returns true if a text may have dollar quotes.
pub(super) fn has_dollars(text: &str) -> bool {
    text.match_indices('$').any(|(at, _)| text.get(at..).and_then(dollar_quote).is_some())
}

/// Skips a comment; of one that is executed only its beginning. `None` if it does not end.
fn comment(inner: &str, quoting: Quoting) -> Option<&str> {
    match executed(inner) {
        // Its contents are tokens; its end is skipped as a token of its own.
        Some((conditional, contents)) if !(conditional && quoting.skips_conditional) => Some(contents),
        // Comments in a comment that is not executed are skipped with it.
        Some((_, mut rest)) => {
            let mut depth = 1_usize;
            while depth > 0 {
                let at = rest.find("*/")?;
                let begins = rest.get(..at)?.matches("/*").count();
                depth = (depth + begins).saturating_sub(1);
                rest = rest.get(at + 2..)?;
            }
            Some(rest)
        }
        None => inner.split_once("*/").map(|(_, after)| after),
    }
}

/// Returns true for the spaces of the server's lexer.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// Returns true for the characters of words and unquoted names.
///
/// Any character outside of ASCII may be part of a name, except for the no-break space.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii() && c != '\u{a0}'
}

/// Splits at the closing quote. A doubled quote is a single one of the text; in strings a backslash escapes the next
/// character.
fn quoted(text: &str, quote: char, backslashes: bool) -> Option<(String, &str)> {
    let mut inner = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((index, character)) = characters.next() {
        if character == '\\' && backslashes {
            inner.push(characters.next()?.1);
        } else if character != quote {
            inner.push(character);
        } else if characters.next_if(|(_, next)| *next == quote).is_some() {
            inner.push(quote);
        } else {
            return text.get(index + quote.len_utf8()..).map(|after| (inner, after));
        }
    }
    None
}
