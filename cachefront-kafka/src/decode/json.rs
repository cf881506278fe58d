//! JSON by hand, for the records of the common form: strict, borrowing, and silent where it is not sure.
//!
//! Every function answers nothing for what it does not understand; the caller then parses anew with `serde_json`.

use std::borrow::Cow;

/// One value, as the JSON has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(Cow<'a, str>),
    /// An object, an array, or a number that no type here holds: its text.
    Raw(&'a str),
}

impl<'a> Json<'a> {
    /// A value from its text, which is known to be valid.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut scan = Scan::new(text.trim());
        let value = scan.value()?;
        scan.is_empty().then_some(value)
    }
}

/// A reader of JSON's text.
#[derive(Clone, Debug)]
pub(super) struct Scan<'a> {
    rest: &'a str,
}

/// A string between its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quoted<'a> {
    inner: &'a str,
    escaped: bool,
}

impl<'a> Quoted<'a> {
    /// The text, if it stands there without escapes.
    pub(super) fn plain(self) -> Option<&'a str> {
        (!self.escaped).then_some(self.inner)
    }

    /// The text, escapes resolved.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        if !self.escaped {
            return Some(Cow::Borrowed(self.inner));
        }
        unescape(self.inner).map(Cow::Owned)
    }
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Passes over exactly this text.
    #[inline]
    pub(super) fn eat(&mut self, text: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    #[inline]
    fn take(&mut self, length: usize) -> Option<&'a str> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// A string.
    #[inline]
    pub(super) fn string(&mut self) -> Option<Quoted<'a>> {
        self.eat("\"")?;
        let bytes = self.rest.as_bytes();
        let mut at = 0;
        let mut escaped = false;
        loop {
            at += plain_length(bytes.get(at..)?);
            match *bytes.get(at)? {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    at += escape_length(bytes.get(at..)?)?;
                }
                // A control character must be escaped.
                _ => return None,
            }
        }
        let inner = self.take(at)?;
        self.eat("\"")?;
        Some(Quoted { inner, escaped })
    }

    /// The text of a number, and whether it is an integer.
    #[inline]
    fn number(&mut self) -> Option<(&'a str, bool)> {
        let (length, integer) = number_length(self.rest.as_bytes())?;
        Some((self.take(length)?, integer))
    }

    /// An integer that is not negative.
    pub(super) fn unsigned(&mut self) -> Option<u64> {
        let (text, integer) = self.number()?;
        if integer { text.parse().ok() } else { None }
    }

    /// Any value.
    #[inline]
    pub(super) fn value(&mut self) -> Option<Json<'a>> {
        Some(match self.peek()? {
            b'"' => Json::Text(self.string()?.text()?),
            b'n' => self.eat("null").map(|()| Json::Null)?,
            b't' => self.eat("true").map(|()| Json::Bool(true))?,
            b'f' => self.eat("false").map(|()| Json::Bool(false))?,
            b'{' | b'[' => {
                let whole = self.rest;
                self.skip()?;
                Json::Raw(whole.get(..whole.len() - self.rest.len())?)
            }
            _ => {
                let (text, integer) = self.number()?;
                number(text, integer)?
            }
        })
    }

    /// Passes over any value.
    #[inline]
    pub(super) fn skip(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'n' => self.eat("null"),
            b't' => self.eat("true"),
            b'f' => self.eat("false"),
            b'{' | b'[' => self.skip_nested(),
            _ => self.number().map(drop),
        }
    }

    /// Passes over an object or an array, which hold no white space in the common form but may here.
    fn skip_nested(&mut self) -> Option<()> {
        // Nested values are rare (geometry, vectors), so the exact parser does it.
        let mut values = serde_json::Deserializer::from_str(self.rest).into_iter::<serde::de::IgnoredAny>();
        values.next()?.ok()?;
        let length = values.byte_offset();
        self.take(length).map(drop)
    }
}

/// The value that a number's text means, exactly.
fn number(text: &str, integer: bool) -> Option<Json<'_>> {
    if !integer {
        return text.parse().ok().filter(|number: &f64| number.is_finite()).map(Json::Float);
    }
    Some(match text.parse::<i64>() {
        Ok(number) => Json::Int(number),
        Err(_) => text.parse::<u64>().map_or(Json::Raw(text), Json::UInt),
    })
}

/// How many bytes of a number there are, after JSON's grammar, and whether it is an integer.
#[inline]
fn number_length(bytes: &[u8]) -> Option<(usize, bool)> {
    let digits = |from: usize| bytes.get(from..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count();
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || whole > 1 && bytes.get(at) == Some(&b'0') {
        return None;
    }
    at += whole;
    let mut integer = true;
    if bytes.get(at) == Some(&b'.') {
        integer = false;
        let fraction = digits(at + 1);
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        integer = false;
        at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at);
        if exponent == 0 {
            return None;
        }
        at += exponent;
    }
    Some((at, integer))
}

/// How many bytes stand before the first quote, backslash or control character.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        // The lowest byte comes first. A byte above a hit may be marked wrongly, the first mark is exact.
        let word = u64::from_le_bytes(*chunk);
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let backslash = zero(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let marks = quote | backslash | control;
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let tail = bytes.get(at..).unwrap_or_default();
    at + tail.iter().take_while(|&&byte| byte >= 0x20 && byte != b'"' && byte != b'\\').count()
}

/// How many bytes an escape takes.
fn escape_length(bytes: &[u8]) -> Option<usize> {
    match bytes.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => bytes.get(2..6)?.iter().all(u8::is_ascii_hexdigit).then_some(6),
        _ => None,
    }
}

/// Resolves escapes.
fn unescape(inner: &str) -> Option<String> {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        text.push_str(rest.get(..at)?);
        text.push(match rest.as_bytes().get(at + 1)? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            // Numbered characters come in pairs at times: the exact parser knows.
            _ => return serde_json::from_str(&format!("\"{inner}\"")).ok(),
        });
        rest = rest.get(at + 2..)?;
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_every_digit() {
        for (text, value) in [
            ("0", Json::Int(0)),
            ("-1", Json::Int(-1)),
            ("9223372036854775807", Json::Int(i64::MAX)),
            ("18446744073709551615", Json::UInt(u64::MAX)),
            ("18446744073709551616", Json::Raw("18446744073709551616")),
            ("3.4E38", Json::Float(3.4e38)),
            ("1.0E-300", Json::Float(1e-300)),
            ("0.1", Json::Float(0.1)),
        ] {
            assert_eq!(Json::parse(text), Some(value), "{text}");
        }
        for text in ["", "01", "-", "+1", "1.", ".5", "1e", "1e400", "NaN", "1 2", "tru", "\"a", "\"\n\"", "\"\\q\""] {
            assert_eq!(Json::parse(text), None, "{text}");
        }
    }

    #[test]
    fn strings_are_found_at_every_length_and_offset() {
        for length in 0..40 {
            for special in ["\"", "\\", "\n", "\u{1f}", " ", "é", "\u{7f}"] {
                for at in 0..=length {
                    let text = format!("{}{special}{}", "a".repeat(at), "b".repeat(length - at));
                    let quoted = serde_json::to_string(&text).expect("a string");
                    assert_eq!(Json::parse(&quoted), Some(Json::Text(text.clone().into())), "{quoted}");
                    let raw = format!("\"{text}\"");
                    let exact = serde_json::from_str::<String>(&raw).ok();
                    assert_eq!(Json::parse(&raw), exact.map(|text| Json::Text(text.into())), "{raw:?}");
                }
            }
        }
    }

    #[test]
    fn nested_values_are_their_text() {
        let text = r#"{"wkb":"AQ==","srid":null}"#;
        let mut scan = Scan::new(r#"{"wkb":"AQ==","srid":null},[1.0,2.5],"\u00e9\ud83d\ude00""#);
        assert_eq!(scan.value(), Some(Json::Raw(text)));
        scan.eat(",").expect("a comma");
        assert_eq!(scan.value(), Some(Json::Raw("[1.0,2.5]")));
        scan.eat(",").expect("a comma");
        assert_eq!(scan.value(), Some(Json::Text("é😀".into())));
    }
}
