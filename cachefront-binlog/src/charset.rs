//! Character sets, and the conversion of text to UTF-8.

/// The encoding of a text column, as far as it matters for decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    /// utf8mb4, utf8mb3 and ascii.
    Utf8,
    /// MySQL's latin1, which is Windows-1252 with its five unassigned bytes mapped to control characters.
    Latin1,
    /// Bytes, not text.
    Binary,
    /// Any other, or one that the log does not name. Such values are delivered as bytes.
    Other,
}

impl Charset {
    /// The character set of a collation, by its id in `information_schema.COLLATIONS`.
    pub(crate) fn of_collation(id: Option<u64>) -> Self {
        match id {
            Some(63) => Self::Binary,
            Some(5 | 8 | 15 | 31 | 47 | 48 | 49 | 94) => Self::Latin1,
            // ascii, utf8mb3, utf8mb4 (the 0900 collations are 255 and above).
            Some(11 | 65 | 33 | 76 | 83 | 192..=215 | 223 | 45 | 46 | 224..=247 | 255..=323) => Self::Utf8,
            _ => Self::Other,
        }
    }
}

/// The characters of the bytes 0x80 to 0x9f in Windows-1252. MySQL maps unassigned bytes to the control characters of the
/// same number.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|&byte| match byte {
            0x80..=0x9f => WINDOWS_1252.get(usize::from(byte - 0x80)).copied().unwrap_or(char::REPLACEMENT_CHARACTER),
            byte => char::from(byte),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latin1_is_decoded_as_mysql_does() {
        assert_eq!(latin1(b"caf\xe9 \x80 \x99"), "café € ™");
        assert_eq!(Charset::of_collation(Some(8)), Charset::Latin1);
        assert_eq!(Charset::of_collation(Some(309)), Charset::Utf8);
        assert_eq!(Charset::of_collation(Some(28)), Charset::Other);
        assert_eq!(Charset::of_collation(None), Charset::Other);
    }
}
