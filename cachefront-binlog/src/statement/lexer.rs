//! Splits a statement into words, names and symbols. Comments are skipped, except for those that MySQL executes
//! (<https://dev.mysql.com/doc/refman/8.4/en/comments.html>). The parent module says why the lexer is the crate's own.

use std::vec::IntoIter;

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

/// The settings of `sql_mode` that decide where a quote ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Quoting {
    /// `ANSI_QUOTES`: double quotes are around names, not around text.
    pub(super) ansi: bool,
    /// `NO_BACKSLASH_ESCAPES`: a backslash in a text is an ordinary character.
    pub(super) plain_backslash: bool,
}

impl Quoting {
    /// The settings of a session.
    pub(super) fn of_mode(sql_mode: u64) -> Self {
        Self { ansi: sql_mode & 4 != 0, plain_backslash: sql_mode & 1 << 20 != 0 }
    }

    /// All settings, for a session whose mode is not known.
    pub(super) const ALL: [Self; 4] = [
        Self { ansi: false, plain_backslash: false },
        Self { ansi: false, plain_backslash: true },
        Self { ansi: true, plain_backslash: false },
        Self { ansi: true, plain_backslash: true },
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

/// The tokens of a statement, read from the front.
#[derive(Debug)]
pub(super) struct Tokens {
    rest: std::iter::Peekable<IntoIter<(Token, String)>>,
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
        while matches!(tokens.last(), Some((Token::Symbol(';'), _))) {
            tokens.pop();
        }
        Ok(Self { rest: tokens.into_iter().peekable() })
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        self.rest.next().map(|(token, _)| token)
    }

    pub(super) fn at_end(&mut self) -> bool {
        self.rest.peek().is_none()
    }

    pub(super) fn peek_word(&mut self) -> Option<String> {
        match self.rest.peek() {
            Some((Token::Word(word), _)) => Some(word.clone()),
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
        self.rest.next_if(|(token, _)| matches!(token, Token::Word(word) if word == expected)).is_some()
    }

    /// Takes this symbol if it is next.
    pub(super) fn symbol(&mut self, expected: char) -> bool {
        self.rest.next_if(|(token, _)| *token == Token::Symbol(expected)).is_some()
    }

    /// Takes a name, quoted or unquoted.
    pub(super) fn next_name(&mut self) -> Option<String> {
        match self.rest.next()? {
            (Token::Name(name), _) => Some(name),
            (Token::Word(_) | Token::Number(_), written) => Some(written),
            _ => None,
        }
    }

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
fn one<'a>(text: &'a str, quoting: Quoting, tokens: &mut Vec<(Token, String)>) -> Option<&'a str> {
    if let Some(comment) = text.strip_prefix("/*") {
        // `/*!50100 .. */` is executed, so its contents are tokens; its end is skipped below.
        if let Some(executed) = comment.strip_prefix('!') {
            return Some(executed.trim_start_matches(|c: char| c.is_ascii_digit()));
        }
        return comment.split_once("*/").map(|(_, after)| after);
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
        first if is_word(first) => {
            let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
            let (word, after) = text.split_at_checked(end)?;
            let token = match word.bytes().all(|byte| byte.is_ascii_digit()) {
                true => Token::Number(word.to_owned()),
                false => Token::Word(word.to_ascii_uppercase()),
            };
            tokens.push((token, word.to_owned()));
            return Some(after);
        }
        symbol => text.get(symbol.len_utf8()..).map(|after| (Token::Symbol(symbol), after)),
    }
    .map(|(token, after)| {
        tokens.push((token, String::new()));
        after
    })
}

/// Returns true for the spaces of the server's lexer.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// Returns true for the characters of words and unquoted names.
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
