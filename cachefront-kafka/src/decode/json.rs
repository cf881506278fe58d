//! A column's value as JSON spells it, exact for every number of MySQL.
//!
//! `serde_json` reads integers beyond 64 bits as floating point, so numbers are classified from their text.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// One value, with the text of what no other variant can hold exactly.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(Cow<'a, str>),
    /// The text of an object, an array, or an integer beyond 64 bits.
    Raw(&'a str),
}

impl<'a> Json<'a> {
    /// Classifies a value. Returns `None` for a number beyond the range of `f64`.
    pub(super) fn read(value: &'a RawValue) -> Option<Self> {
        let text = value.get().trim();
        Some(match text.as_bytes() {
            [b'n', ..] => Self::Null,
            [b't', ..] => Self::Bool(true),
            [b'f', ..] => Self::Bool(false),
            [b'"', ..] => Self::Text(string(text)?),
            [b'{' | b'[', ..] => Self::Raw(text),
            _ => number(text)?,
        })
    }
}

/// The text of a valid JSON string: borrowed unless it has escapes.
fn string(text: &str) -> Option<Cow<'_, str>> {
    match text.contains('\\') {
        true => serde_json::from_str(text).ok().map(Cow::Owned),
        false => Some(Cow::Borrowed(text.strip_prefix('"')?.strip_suffix('"')?)),
    }
}

/// An integer beyond 64 bits keeps its text.
fn number(text: &str) -> Option<Json<'_>> {
    if text.contains(['.', 'e', 'E']) {
        return text.parse().ok().filter(|number: &f64| number.is_finite()).map(Json::Float);
    }
    Some(match text.parse::<i64>() {
        Ok(number) => Json::Int(number),
        Err(_) => text.parse::<u64>().map_or(Json::Raw(text), Json::UInt),
    })
}

/// Returns the value of a JSON text; `None` if it is invalid or out of range.
#[cfg(test)]
pub(super) fn parse(text: &str) -> Option<Json<'_>> {
    Json::read(serde_json::from_str(text).ok()?)
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
            assert_eq!(parse(text), Some(value), "{text}");
        }
        for text in ["", "01", "-", "+1", "1.", ".5", "1e", "1e400", "NaN", "1 2", "tru", "\"a", "\"\n\"", "\"\\q\""] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn strings_of_any_content_keep_their_text() {
        for length in 0..40 {
            for special in ["\"", "\\", "\n", "\u{1f}", " ", "é", "\u{7f}"] {
                for at in 0..=length {
                    let text = format!("{}{special}{}", "a".repeat(at), "b".repeat(length - at));
                    let quoted = serde_json::to_string(&text).expect("a string");
                    assert_eq!(parse(&quoted), Some(Json::Text(text.clone().into())), "{quoted}");
                }
            }
        }
    }

    #[test]
    fn nested_values_are_their_text() {
        for text in [r#"{"wkb":"AQ==","srid":null}"#, "[1.0,2.5]"] {
            assert_eq!(parse(text), Some(Json::Raw(text)));
        }
        assert_eq!(parse(r#""\u00e9\ud83d\ude00""#), Some(Json::Text("é😀".into())));
    }
}
