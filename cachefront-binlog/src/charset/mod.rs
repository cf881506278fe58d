//! Character sets: how MySQL converts text to UTF-8.
//!
//! Values of columns are decoded exactly, or not at all: a text that differs from what a loader reads would be another key.
//! Statements are decoded as far as their words and names need it; a character of unknown meaning is [`UNKNOWN`].
//!
//! | character sets | values | statements |
//! |---|---|---|
//! | utf8mb4, utf8mb3, ascii | exact | exact |
//! | latin1 and 23 others with one byte per character | exact | exact |
//! | utf16, utf16le, ucs2, utf32 | exact | ASCII only; no client may use them |
//! | big5, sjis, ujis, euckr, gb2312, gbk and their variants | not decoded | ASCII only |
//! | binary | bytes | as UTF-8 |
//!
//! Manual: <https://dev.mysql.com/doc/refman/8.4/en/charset-charsets.html>.

mod multi;
mod single;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use cachefront_core::event::Text;

use crate::charset::multi::Multi;

/// In the text of a statement: a character that is not known. As part of a name it may be any character.
pub(crate) const UNKNOWN: char = char::REPLACEMENT_CHARACTER;

/// A character set, as far as it matters for decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    /// utf8mb4, utf8mb3 and ascii.
    Utf8,
    /// MySQL's latin1, which is Windows-1252 with its five unassigned bytes mapped to control characters.
    Latin1,
    /// Another one with one byte for each character: the characters of all bytes.
    Single(&'static [char; 256]),
    /// Two or four bytes for each character, the highest first.
    Utf16,
    /// The same, the lowest first.
    Utf16Le,
    /// Four bytes for each character, the highest first.
    Utf32,
    /// Of East Asia: values of columns are not decoded.
    Multi(Multi),
    /// Bytes, not text.
    Binary,
    /// Unknown, or not named by the log.
    Other,
}

/// The characters of the bytes 0x80 to 0x9f in Windows-1252. MySQL maps unassigned bytes to the control characters of the
/// same number.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

static TABLES: LazyLock<HashMap<&'static str, [char; 256]>> = LazyLock::new(|| {
    let ascii = |byte: usize| char::from(byte as u8);
    let mut tables: HashMap<&str, [char; 256]> = HashMap::new();
    for (name, upper) in single::TABLES {
        let mut upper = upper.chars();
        let of = |byte| if byte < 0x80 { ascii(byte) } else { upper.next().unwrap_or('?') };
        tables.insert(name, std::array::from_fn(of));
    }
    let mut swe7 = std::array::from_fn(|byte| if byte < 0x80 { ascii(byte) } else { '?' });
    for (byte, character) in single::SWE7 {
        if let Some(slot) = swe7.get_mut(usize::from(byte)) {
            *slot = character;
        }
    }
    tables.insert("swe7", swe7);
    tables
});

impl Charset {
    /// The character set of a collation, by its id in `information_schema.COLLATIONS`. Ids of one character set are not
    /// consecutive; those above 575 are MariaDB's.
    pub(crate) fn of_collation(id: u64) -> Self {
        let name = match id {
            63 => return Self::Binary,
            5 | 8 | 15 | 31 | 47..=49 | 94 => return Self::Latin1,
            // ascii, utf8mb3, utf8mb4 (the 0900 collations are 255 and above).
            11 | 65 | 33 | 76 | 83 | 192..=215 | 223 | 45 | 46 | 224..=247 | 255..=323 => return Self::Utf8,
            576..=579 | 608..=611 | 2_048..=2_559 => return Self::Utf8,
            35 | 90 | 128..=151 | 159 | 54 | 55 | 101..=124 | 640..=642 | 672..=674 | 2_560..=3_071 => {
                return Self::Utf16;
            }
            56 | 62 => return Self::Utf16Le,
            60 | 61 | 160..=183 | 736..=738 | 3_072..=3_327 => return Self::Utf32,
            // MariaDB's variants that do not pad.
            1_024..=2_047 => return Self::of_collation(id - 1_024),
            32 | 64 => "armscii8",
            1 | 84 => "big5",
            26 | 34 | 44 | 66 | 99 => "cp1250",
            14 | 23 | 50..=52 => "cp1251",
            57 | 67 => "cp1256",
            29 | 58 | 59 => "cp1257",
            4 | 80 => "cp850",
            40 | 81 => "cp852",
            36 | 68 => "cp866",
            95 | 96 => "cp932",
            3 | 69 => "dec8",
            97 | 98 => "eucjpms",
            19 | 85 => "euckr",
            248..=250 => "gb18030",
            24 | 86 => "gb2312",
            28 | 87 => "gbk",
            92 | 93 => "geostd8",
            25 | 70 => "greek",
            16 | 71 => "hebrew",
            6 | 72 => "hp8",
            37 | 73 => "keybcs2",
            7 | 74 => "koi8r",
            22 | 75 => "koi8u",
            2 | 9 | 21 | 27 | 77 => "latin2",
            30 | 78 => "latin5",
            20 | 41 | 42 | 79 => "latin7",
            38 | 43 => "macce",
            39 | 53 => "macroman",
            13 | 88 => "sjis",
            10 | 82 => "swe7",
            18 | 89 => "tis620",
            12 | 91 => "ujis",
            _ => return Self::Other,
        };
        Self::of_name(name)
    }

    /// The character set of this name, in lower case.
    pub(crate) fn of_name(name: &str) -> Self {
        match name {
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" => Self::Utf8,
            "latin1" => Self::Latin1,
            "ucs2" | "utf16" => Self::Utf16,
            "utf16le" => Self::Utf16Le,
            "utf32" => Self::Utf32,
            "binary" => Self::Binary,
            name => match (TABLES.get(name), Multi::of_name(name)) {
                (Some(table), _) => Self::Single(table),
                (None, Some(multi)) => Self::Multi(multi),
                (None, None) => Self::Other,
            },
        }
    }

    /// Returns true if values of columns can be decoded.
    pub(crate) fn is_decodable(self) -> bool {
        !matches!(self, Self::Multi(_) | Self::Other)
    }

    /// Decodes a value. `None` if the character set is not decodable, or the bytes are not valid in it.
    #[inline]
    pub(crate) fn decode(self, bytes: &[u8]) -> Option<Text> {
        match self {
            Self::Utf8 => std::str::from_utf8(bytes).ok().map(Text::from),
            other => other.convert(bytes),
        }
    }

    /// Decodes a value of another character set than UTF-8.
    fn convert(self, bytes: &[u8]) -> Option<Text> {
        match self {
            Self::Latin1 => Some(latin1(bytes)),
            Self::Single(table) => {
                Some(bytes.iter().filter_map(|byte| table.get(usize::from(*byte)).copied()).collect())
            }
            Self::Utf16 => utf16(bytes, u16::from_be_bytes),
            Self::Utf16Le => utf16(bytes, u16::from_le_bytes),
            Self::Utf32 => {
                let (units, rest) = bytes.as_chunks::<4>();
                let text = units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit))).collect::<Option<_>>();
                text.filter(|_| rest.is_empty())
            }
            Self::Utf8 | Self::Multi(_) | Self::Binary | Self::Other => None,
        }
    }

    /// Decodes a statement for the lexer: a character that is not known, or is no ASCII character although the server's
    /// lexer takes it for one, becomes [`UNKNOWN`].
    pub(crate) fn decode_statement(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            Self::Single(table) => bytes
                .iter()
                .map(|&byte| match table.get(usize::from(byte)).copied().unwrap_or(UNKNOWN) {
                    // The backtick quotes names in every character set.
                    _ if byte == b'`' => '`',
                    character if character.is_ascii() == byte.is_ascii() => character,
                    _ => UNKNOWN,
                })
                .collect(),
            Self::Latin1 => Cow::Owned(latin1(bytes)),
            Self::Utf8 | Self::Binary => String::from_utf8_lossy(bytes),
            Self::Multi(multi) => Cow::Owned(statement_of(bytes, |rest| multi.width(rest))),
            Self::Utf16 | Self::Utf16Le | Self::Utf32 | Self::Other => Cow::Owned(statement_of(bytes, |_| 1)),
        }
    }
}

/// The ASCII characters of a statement; every other character is unknown.
fn statement_of(bytes: &[u8], width: impl Fn(&[u8]) -> usize) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let width = width(rest).max(1);
        text.push(if width == 1 && first.is_ascii() { char::from(*first) } else { UNKNOWN });
        rest = rest.get(width..).unwrap_or_default();
    }
    text
}

/// The text of bytes in latin1, which is Windows-1252 in MySQL.
pub(crate) fn latin1<T: FromIterator<char>>(bytes: &[u8]) -> T {
    bytes
        .iter()
        .map(|&byte| match byte {
            0x80..=0x9f => WINDOWS_1252.get(usize::from(byte - 0x80)).copied().unwrap_or(char::REPLACEMENT_CHARACTER),
            byte => char::from(byte),
        })
        .collect()
}

/// The bytes of a text in latin1. `None` if it has another character.
pub(crate) fn to_latin1(text: &str) -> Option<Vec<u8>> {
    let byte = |character: char| match u8::try_from(u32::from(character)) {
        Ok(byte) => Some(byte),
        Err(_) => WINDOWS_1252.iter().position(|own| *own == character).map(|index| 0x80 + index as u8),
    };
    text.chars().map(byte).collect()
}

fn utf16(bytes: &[u8], unit: impl Fn([u8; 2]) -> u16) -> Option<Text> {
    let (units, rest) = bytes.as_chunks::<2>();
    let text = char::decode_utf16(units.iter().map(|pair| unit(*pair))).collect::<Result<_, _>>().ok();
    text.filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latin1_is_decoded_as_mysql_does() {
        assert_eq!(latin1::<String>(b"caf\xe9 \x80 \x99"), "café € ™");
        assert_eq!(to_latin1("café € ™").as_deref(), Some(&b"caf\xe9 \x80 \x99"[..]));
        assert_eq!(to_latin1("Ж"), None);
        assert_eq!(Charset::of_collation(8), Charset::Latin1);
        assert_eq!(Charset::of_collation(309), Charset::Utf8);
        assert_eq!(Charset::of_collation(4_711), Charset::Other);
        // MariaDB's utf8mb4_nopad_bin and utf8mb4_uca1400_ai_ci.
        assert_eq!((Charset::of_collation(1_070), Charset::of_collation(2_304)), (Charset::Utf8, Charset::Utf8));
        // utf8mb3_general1400_as_ci and utf8mb4_general1400_as_ci.
        assert_eq!((Charset::of_collation(579), Charset::of_collation(611)), (Charset::Utf8, Charset::Utf8));
    }

    #[test]
    fn text_of_other_character_sets_is_decoded_or_none() {
        for (name, bytes, text) in [
            ("cp1251", &b"\xc6x"[..], Some("Жx")),
            ("swe7", b"a{`", Some("aäé")),
            ("utf16", b"\x00a\xd8\x3d\xde\x00", Some("a😀")),
            ("utf16le", b"a\x00", Some("a")),
            ("utf32", b"\x00\x01\xf6\x00", Some("😀")),
            ("utf32", b"\x00\x01\xf6", None),
            ("utf16", b"\xd8\x3d", None),
            ("gbk", b"\xb1\xed", None),
            ("utf9", b"a", None),
        ] {
            assert_eq!(Charset::of_name(name).decode(bytes).as_deref(), text, "{name}");
        }
        assert!(Charset::of_name("koi8r").is_decodable() && !Charset::of_name("gbk").is_decodable());
    }

    #[test]
    fn a_second_byte_is_no_quote_and_no_backslash() {
        for (name, bytes) in [
            ("gbk", &b"`\xd5\\\xd5`` '"[..]),
            ("sjis", b"`\x95\\\x83`` '"),
            ("cp932", b"`\x95\\\x83`` '"),
            ("big5", b"`\xa5\\\xa5`` '"),
            ("gb18030", b"`\xd5\\\x81\x30\x81\x30` '"),
            ("ujis", b"`\xa1\xa1\x8f\xa1\xa1` '"),
            ("euckr", b"`\xa1\xa1\x81A` '"),
        ] {
            assert_eq!(Charset::of_name(name).decode_statement(bytes), "`\u{fffd}\u{fffd}` '", "{name}");
        }
        assert_eq!(Charset::of_name("swe7").decode_statement(b"`a{`"), "`a\u{fffd}`");
        assert_eq!(Charset::of_name("cp1251").decode_statement(b"`\xc6`"), "`Ж`");
    }
}
